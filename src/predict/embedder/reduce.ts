import { SeededRng } from '../../model/rng.js';
import { TEXT_VECTOR_SIZE } from '../../model/text-vector.js';

/** The seed of the directions. Another one makes other features: part of an embedder's name. */
export const REDUCTION_SEED = 1;

/**
 * Reduces embeddings of `size` numbers to {@link TEXT_VECTOR_SIZE}: their length is made 1, and they are projected on directions that are drawn at random, which keeps distances within about an
 * eighth (Johnson and Lindenstrauss 1984; signs instead of normal numbers: Achlioptas 2003). A projection that was fitted to data would have to travel with every trace and model;
 * this one is the same everywhere.
 */
export function embeddingReducer(size: number): (embedding: ArrayLike<number>) => number[] {
  const rng = new SeededRng(REDUCTION_SEED);
  const signs = Int8Array.from({ length: size * TEXT_VECTOR_SIZE }, () => (rng.next() < 0.5 ? -1 : 1));
  return (embedding) => {
    let squares = 0;
    for (let index = 0; index < size; index++) squares += embedding[index]! ** 2;
    const scale = 1 / Math.sqrt(TEXT_VECTOR_SIZE * squares);
    return Array.from({ length: TEXT_VECTOR_SIZE }, (_, direction) => {
      const first = direction * size;
      let sum = 0;
      for (let index = 0; index < size; index++) sum += signs[first + index]! * embedding[index]!;
      return Math.round(1000 * scale * sum) / 1000;
    });
  };
}

/** Means over the tokens of each text, padding left out: what sentence-transformers calls mean pooling. */
export function meanPooled(hidden: ArrayLike<number>, mask: readonly (readonly number[])[], size: number): number[][] {
  const width = mask[0]?.length ?? 0;
  return mask.map((tokens, text) => {
    const sums = new Array<number>(size).fill(0);
    let count = 0;
    tokens.forEach((isToken, token) => {
      if (!isToken) return;
      count += 1;
      const first = (text * width + token) * size;
      for (let index = 0; index < size; index++) sums[index]! += hidden[first + index]!;
    });
    return sums.map((sum) => sum / Math.max(1, count));
  });
}
