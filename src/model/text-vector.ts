/** Numbers that are kept of an embedding: see `reduceEmbedding`. */
export const TEXT_VECTOR_SIZE = 64;

/** What a sentence embedder says of a text, in few numbers. As confidential as the text: what it was about can be guessed from them. */
export interface TextVector {
  /** Which embedder. Vectors of different ones say nothing of each other. */
  readonly embedder: string;
  readonly values: readonly number[];
}

/** Characters of a text that an embedder is given at most, half from its beginning and half from its end. */
const MAX_CHARACTERS = 2048;

/**
 * The part of a text that is embedded: what a message asks for stands at its beginning, what a tool said is summed up at its end. Undefined for a text without words.
 */
export function embeddedPart(text: string): string | undefined {
  const part =
    text.length <= MAX_CHARACTERS ? text : `${text.slice(0, MAX_CHARACTERS / 2)} ${text.slice(-MAX_CHARACTERS / 2)}`;
  return /[\p{L}\p{N}]/u.test(part) ? part : undefined;
}
