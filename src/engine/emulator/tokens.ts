/**
 * The emulator's tokenizer: four bytes of UTF-8 are one token, and the token's id is those bytes as a little-endian number. That is
 * near the average of real tokenizers on English text, costs nothing, and /detokenize can take it back exactly.
 */
const BYTES_PER_TOKEN = 4;

/** The token ids of a text. */
export function tokenize(text: string): Uint32Array {
  const bytes = Buffer.from(text, 'utf8');
  const ids = new Uint32Array(Math.ceil(bytes.length / BYTES_PER_TOKEN));
  // Typed arrays are little-endian on every platform that Node runs on.
  new Uint8Array(ids.buffer).set(bytes);
  return ids;
}

/** The text of token ids; ids outside 32 bits stand for nothing. */
export function detokenize(ids: ArrayLike<number>): string {
  const bytes = Buffer.alloc(ids.length * BYTES_PER_TOKEN);
  let length = 0;
  for (let index = 0; index < ids.length; index++) {
    const id = ids[index]!;
    if (!Number.isInteger(id) || id < 0 || id > 0xffffffff) continue;
    length = bytes.writeUInt32LE(id, length);
  }
  // Only the last token of a text is padded, with zero bytes.
  return bytes.subarray(0, length).toString('utf8').replace(/\0+$/, '');
}

export interface ChatMessage {
  readonly role: string;
  readonly content?: unknown;
  readonly tool_calls?: unknown;
  readonly [field: string]: unknown;
}

/** What a chat template would make of the messages and tools; the same text for the same conversation, so that prefixes are shared. */
export function renderChat(messages: readonly ChatMessage[], tools: unknown, addGenerationPrompt: boolean): string {
  const parts: string[] = [];
  if (Array.isArray(tools) && tools.length > 0) parts.push(`<|tools|>\n${JSON.stringify(tools)}<|end|>\n`);
  for (const message of messages) {
    const calls = message.tool_calls ? JSON.stringify(message.tool_calls) : '';
    parts.push(`<|${message.role}|>\n${contentText(message.content)}${calls}<|end|>\n`);
  }
  if (addGenerationPrompt) parts.push('<|assistant|>\n');
  return parts.join('');
}

function contentText(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content
    .map((part) => (typeof part === 'object' && part !== null && 'text' in part ? String(part.text) : ''))
    .join('\n');
}

/**
 * Hash of every full block of a prompt, each chained to the ones before it. FNV-1a over token ids; two lanes with different offsets
 * make 53 bits, so that blocks do not collide by chance.
 */
export function chainHashes(ids: ArrayLike<number>, blockSize: number): number[] {
  const hashes: number[] = [];
  let high = 0x811c9dc5;
  let low = 0x9747b28c;
  for (let index = 0; index < ids.length; index++) {
    const id = ids[index]!;
    high = Math.imul(high ^ id, 0x01000193);
    low = Math.imul(low ^ (id >>> 15) ^ (id << 3), 0x85ebca6b);
    high ^= high >>> 15;
    low ^= low >>> 13;
    if ((index + 1) % blockSize === 0) hashes.push((high & 0x1fffff) * 0x100000000 + (low >>> 0));
  }
  return hashes;
}

/** A 32-bit hash of a text, for seeds. */
export function hashText(text: string, seed = 0): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return mix(hash);
}

/** Scrambles 32 bits (the finaliser of MurmurHash3). */
export function mix(value: number): number {
  let hash = value | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
