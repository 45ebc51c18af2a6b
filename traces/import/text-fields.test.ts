import { describe, expect, it } from 'vitest';
import { SeededRng } from '../../src/model/rng.js';
import { textGrams } from '../../src/model/text-grams.js';
import { TEXT_VECTOR_SIZE } from '../../src/model/text-vector.js';
import { checkTrace } from '../reader.js';
import { sourceFile } from './import-fixture.js';
import { tauBench } from './tau-bench.js';
import { type TextEmbedder, TextVectors, textFields } from './text-fields.js';

/** The first number is the length of the text. */
class LengthEmbedder implements TextEmbedder {
  readonly name = 'lengths';
  readonly asked: string[] = [];
  async embed(texts: readonly string[]) {
    this.asked.push(...texts);
    return texts.map((text) => ({
      embedder: this.name,
      values: Array.from({ length: TEXT_VECTOR_SIZE }, (_, at) => (at === 0 ? text.length / 1000 : 0)),
    }));
  }
}

describe('textFields', () => {
  it('asks for no text where nothing is kept, and keeps what is asked for', async () => {
    const text = () => {
      throw new Error('read');
    };
    expect(textFields({}, text)).toEqual({});
    expect(textFields({ textGrams: true }, () => 'a word')).toEqual({ text_grams: textGrams('a word') });
    const textVectors = new TextVectors(new LengthEmbedder());
    const fields = textFields({ textVectors }, () => 'a word');
    await textVectors.fill();
    expect(Object.keys(fields)).toEqual(['text_vector']);
    expect(fields.text_vector!.values[0]).toBe(0.006);
    expect(textFields({ textVectors, textGrams: true }, () => undefined)).toEqual({});
    expect(textFields({ textVectors }, () => ' … ')).toEqual({});
  });

  it('embeds each text once, and of a long one its beginning and its end', async () => {
    const embedder = new LengthEmbedder();
    const vectors = new TextVectors(embedder);
    expect(vectors.promise('twice')).toBe(vectors.promise('twice'));
    vectors.promise(`first${'x'.repeat(5000)}last`);
    await vectors.fill();
    expect(embedder.asked.map((text) => text.slice(0, 5))).toEqual(['twice', 'first']);
    expect(embedder.asked[1]).toHaveLength(2049);
    expect(embedder.asked[1]!.endsWith('last')).toBe(true);
  });

  it('gives rows that the strict reader takes', async () => {
    const record = {
      task_id: 1,
      trial: 0,
      reward: 1,
      info: {},
      traj: [
        { role: 'system', content: 'be kind' },
        { role: 'user', content: 'hello there' },
        { role: 'assistant', content: 'good day' },
      ],
    };
    const textVectors = new TextVectors(new LengthEmbedder());
    const trace = await tauBench.read([sourceFile('a.jsonl', record)], {
      ...{ textVectors, limitWorkflows: 1, rng: new SeededRng(1) },
    });
    await textVectors.fill();
    const { issues } = await checkTrace([trace.header, ...trace.rows].map((line) => JSON.stringify(line)));
    expect(issues).toEqual([]);
    expect(trace.rows.map(({ text_vector }) => text_vector?.values[0])).toContain(0.011);
  });
});
