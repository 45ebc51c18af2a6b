/** Names of the hashed space of words and pairs of words, 16 bits. */
export const TEXT_GRAMS = 2 ** 16;

/** Words that are looked at: what a message asks for stands at its beginning, what a tool said is summed up at its end. */
const WORDS_AT_EACH_END = 64;
/** Of one text. */
export const MAX_TEXT_GRAMS = 4 * WORDS_AT_EACH_END;
const WORD = /[\p{L}\p{N}_]+/gu;
const MAX_CHARACTERS = 16_384;

/**
 * The words of a text and their pairs, as hashed numbers in ascending order, each once: all that predictors take of a text. Words are not recovered from them by looking, but
 * can be guessed: they are as confidential as the text.
 */
export function textGrams(text: string): number[] {
  const grams = new Set<number>();
  const ends =
    text.length <= MAX_CHARACTERS ? text : text.slice(0, MAX_CHARACTERS / 2) + text.slice(-MAX_CHARACTERS / 2);
  const words = ends.toLowerCase().match(WORD) ?? [];
  const taken =
    words.length <= 2 * WORDS_AT_EACH_END
      ? words
      : [...words.slice(0, WORDS_AT_EACH_END), ...words.slice(-WORDS_AT_EACH_END)];
  let before = '';
  for (const word of taken) {
    grams.add(hash16(word));
    if (before !== '') grams.add(hash16(`${before} ${word}`));
    before = word;
  }
  return [...grams].sort((a, b) => a - b);
}

/** FNV-1a, folded to 16 bits. */
function hash16(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return ((hash >>> 16) ^ hash) & 0xffff;
}
