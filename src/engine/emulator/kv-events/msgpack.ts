/** What KV events are made of. `{ float }` is a number that is written as a float even where it is whole. */
export type Packable =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly Packable[]
  | { readonly [key: string]: Packable };

/** MessagePack, as far as KV events need it: every integer is non-negative and fits 64 bits. */
export function pack(value: Packable): Buffer {
  const parts: Buffer[] = [];
  write(value, parts);
  return Buffer.concat(parts);
}

function write(value: Packable, parts: Buffer[]): void {
  if (value === null) parts.push(Buffer.from([0xc0]));
  else if (typeof value === 'boolean') parts.push(Buffer.from([value ? 0xc3 : 0xc2]));
  else if (typeof value === 'number' || typeof value === 'bigint') parts.push(integer(BigInt(value)));
  else if (typeof value === 'string') {
    const bytes = Buffer.from(value);
    parts.push(bytes.length < 32 ? Buffer.from([0xa0 | bytes.length]) : header(0xd9, 1, bytes.length), bytes);
  } else if (Array.isArray(value)) {
    parts.push(value.length < 16 ? Buffer.from([0x90 | value.length]) : header(0xdc, 2, value.length));
    for (const entry of value) write(entry, parts);
  } else {
    const entries = Object.entries(value);
    const [[key, float] = []] = entries;
    if (key === 'float' && typeof float === 'number') {
      const bytes = Buffer.alloc(9, 0xcb);
      bytes.writeDoubleBE(float, 1);
      parts.push(bytes);
      return;
    }
    parts.push(Buffer.from([0x80 | entries.length]));
    for (const [key, entry] of entries) {
      write(key, parts);
      write(entry, parts);
    }
  }
}

/** A length in `bytes` bytes, or in twice as many where it does not fit, behind the code for each. */
function header(code: number, bytes: 1 | 2, length: number): Buffer {
  if (length < 2 ** (8 * bytes)) {
    const head = Buffer.alloc(1 + bytes, code);
    head.writeUIntBE(length, 1, bytes);
    return head;
  }
  const head = Buffer.alloc(1 + 2 * bytes, code + 1);
  head.writeUIntBE(length, 1, 2 * bytes);
  return head;
}

function integer(value: bigint): Buffer {
  if (value < 0x80n) return Buffer.from([Number(value)]);
  const code = value < 0x100n ? 0 : value < 0x1_0000n ? 1 : value < 0x1_0000_0000n ? 2 : 3;
  const bytes = Buffer.alloc(1 + 2 ** code, 0xcc + code);
  if (code === 3) bytes.writeBigUInt64BE(value, 1);
  else bytes.writeUIntBE(Number(value), 1, 2 ** code);
  return bytes;
}
