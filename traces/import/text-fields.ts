import { textGrams } from '../../src/model/text-grams.js';
import { embeddedPart, type TextVector } from '../../src/model/text-vector.js';
import type { TraceRow } from '../schema.js';

/** A sentence embedder, as imports use it. */
export interface TextEmbedder {
  readonly name: string;
  embed(texts: readonly string[]): Promise<readonly TextVector[]>;
}

/** What an import keeps of the last messages of calls: nothing where both are absent. */
export interface KeptText {
  /** Hashed words. */
  readonly textGrams?: boolean | undefined;
  readonly textVectors?: TextVectors | undefined;
}

/** Vectors of all texts of an import: promised while the source is read, and filled in at its end, each text once. */
export class TextVectors {
  private readonly promised = new Map<string, { embedder: string; values: number[] }>();

  constructor(private readonly embedder: TextEmbedder) {}

  /** The vector of a text, whose values come with {@link fill}; undefined for a text without words. */
  promise(text: string): NonNullable<TraceRow['text_vector']> | undefined {
    const part = embeddedPart(text);
    if (part === undefined) return undefined;
    const known = this.promised.get(part);
    if (known) return known;
    const vector = { embedder: this.embedder.name, values: [] };
    this.promised.set(part, vector);
    return vector;
  }

  async fill(): Promise<void> {
    const vectors = await this.embedder.embed([...this.promised.keys()]);
    [...this.promised.values()].forEach((vector, index) => {
      vector.values.push(...vectors[index]!.values);
    });
  }
}

/** The fields of a row that tell of the text before a call; `text` is only asked where something is kept. */
export function textFields(
  { textGrams: keepsGrams, textVectors }: KeptText,
  text: () => string | undefined,
): Pick<TraceRow, 'text_grams' | 'text_vector'> {
  if (!keepsGrams && !textVectors) return {};
  const read = text();
  if (read === undefined || read === '') return {};
  const vector = textVectors?.promise(read);
  return { ...(keepsGrams && { text_grams: textGrams(read) }), ...(vector && { text_vector: vector }) };
}
