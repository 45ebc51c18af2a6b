const CRLF = '\r\n';
/** What ends a body of chunks. */
export const LAST_CHUNK = '0\r\n\r\n';
/** Up to this size bytes are written as a string of Latin-1, which stands for any bytes: Node writes that from the stack, without a buffer of its own. */
export const STRING_BYTES = 8 * 1024;

/** The bytes as one HTTP chunk (RFC 9112, section 7.1), and what follows it. There is at least one byte. */
export function frame(bytes: Buffer, after: string): Buffer | string {
  const { length } = bytes;
  const head = length.toString(16) + CRLF;
  if (length <= STRING_BYTES) return head + bytes.toString('latin1') + CRLF + after;
  const chunk = Buffer.allocUnsafe(head.length + length + CRLF.length + after.length);
  const offset = chunk.write(head, 0, 'latin1');
  bytes.copy(chunk, offset);
  chunk.write(CRLF + after, offset + length, 'latin1');
  return chunk;
}
