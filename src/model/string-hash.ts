/** Keys whose hashes are remembered, a power of two. One event asks several tables for the same few names. */
const REMEMBERED = 64;
const keys = new Array<string>(REMEMBERED).fill('');
const hashes = new Int32Array(REMEMBERED).fill(computed(''));

/**
 * FNV-1a over the characters: short strings, mixed well enough for linear probing; an int32. Reading the characters of a key costs more than finding it, so the hashes of the last keys are
 * remembered. What comes out depends on nothing but the key.
 */
export function stringHash(key: string): number {
  const { length } = key;
  // An empty key has no last character: NaN, which is 0 among bits.
  const place = (7 * length + key.charCodeAt(length - 1)) & (REMEMBERED - 1);
  if (keys[place] === key) return hashes[place]!;
  const hash = computed(key);
  keys[place] = key;
  hashes[place] = hash;
  return hash;
}

function computed(key: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < key.length; index++) hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  return (hash ^ (hash >>> 15)) | 0;
}
