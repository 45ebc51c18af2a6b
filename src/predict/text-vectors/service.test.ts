import { describe, expect, it, vi } from 'vitest';
import { ManualClock } from '../../model/clock.js';
import type { TextVector } from '../../model/text-vector.js';
import { TextVectors } from './service.js';

/** A source whose answers the test gives, ready unless said otherwise. */
async function rig(isReady = true) {
  const waitMs = 10;
  const clock = new ManualClock();
  const asked: { texts: readonly string[]; answer(): void; fail(why: string): void }[] = [];
  const reasons: string[] = [];
  const close = vi.fn(async () => undefined);
  const vectors = new TextVectors({
    ...{ waitMs, clock, onOutOfService: (reason) => reasons.push(reason) },
    source: {
      embed: (texts) =>
        new Promise((resolve, reject) => {
          const answer = () => resolve(texts.map(vectorOf));
          asked.push({ texts, answer, fail: (why) => reject(new Error(why)) });
        }),
      close,
    },
  });
  const starting = vectors.start();
  if (isReady) {
    asked.shift()!.answer();
    await starting;
  }
  const answers: [string, TextVector | undefined][] = [];
  const read = (text: string) => vectors.read(text, (vector) => answers.push([text, vector]));
  return { clock, asked, reasons, vectors, answers, read, close };
}

const vectorOf = (text: string): TextVector => ({ embedder: 'test', values: [text.length] });
/** Lets promises that are settled have their say. */
const settled = async () => {
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
};

describe('TextVectors', () => {
  it('lets nothing wait until the embedder has been loaded, and says what is wrong with it', async () => {
    const { asked, answers, read, vectors, reasons, clock } = await rig(false);
    for (let text = 0; text < 30; text++) read('early');
    clock.advance(10);
    expect(answers).toHaveLength(30);
    expect(vectors.late).toBe(0);
    asked[0]!.fail('no model.onnx');
    await settled();
    expect(reasons).toEqual(['no model.onnx']);
  });

  it('answers when the vector is there, and at once when the text comes again', async () => {
    const { asked, answers, read } = await rig();
    read('hello');
    await settled();
    expect(answers).toEqual([]);
    asked[0]!.answer();
    await settled();
    expect(answers).toEqual([['hello', vectorOf('hello')]]);
    read('hello');
    expect(answers).toHaveLength(2);
    expect(asked).toHaveLength(1);
  });

  it('lets a request go on without a vector when the time is up, and remembers what comes late', async () => {
    const { asked, answers, read, clock, vectors } = await rig();
    read('slow');
    await settled();
    clock.advance(9);
    expect(answers).toEqual([]);
    clock.advance(1);
    expect(answers).toEqual([['slow', undefined]]);
    expect(vectors.late).toBe(1);
    asked[0]!.answer();
    await settled();
    expect(answers).toHaveLength(1);
    read('slow');
    expect(answers[1]).toEqual(['slow', vectorOf('slow')]);
  });

  it('reads together what comes while a run is under way, each text once, and not what nobody waits for any more', async () => {
    const { asked, answers, read, clock } = await rig();
    read('first');
    await settled();
    for (const text of ['a', 'b', 'a']) read(text);
    clock.advance(10);
    for (const text of ['c', 'd', 'c']) read(text);
    asked[0]!.answer();
    await settled();
    expect(asked[1]!.texts).toEqual(['c', 'd']);
    asked[1]!.answer();
    await settled();
    expect(answers.filter(([, vector]) => vector).map(([text]) => text)).toEqual(['c', 'c', 'd']);
  });

  it('answers at once where a text has no words, and where too many wait', async () => {
    const { asked, answers, read } = await rig();
    read(' … ');
    expect(answers).toEqual([[' … ', undefined]]);
    for (let text = 0; text < 8; text++) read(`in the run ${text}`);
    await settled();
    for (let text = 0; text < 64; text++) read(`waits ${text}`);
    expect(answers).toHaveLength(1);
    read('one too many');
    expect(answers[1]).toEqual(['one too many', undefined]);
    expect(asked).toHaveLength(1);
  });

  it('goes out of service when it is late twenty times in a row, and nothing waits then', async () => {
    const { asked, answers, read, clock, reasons, vectors } = await rig();
    for (let text = 0; text < 19; text++) {
      read(`late ${text}`);
      clock.advance(10);
    }
    read('in time');
    await settled();
    asked[0]!.answer();
    await settled();
    asked.at(-1)!.answer();
    await settled();
    expect(answers.at(-1)).toEqual(['in time', vectorOf('in time')]);
    expect(reasons).toEqual([]);
    for (let text = 0; text < 20; text++) {
      read(`late again ${text}`);
      clock.advance(10);
    }
    expect(reasons).toEqual(['20 texts in a row were not ready within 10 ms']);
    expect(vectors.outOfService).toBe(reasons[0]);
    const before = answers.length;
    read('in time');
    expect(answers[before]).toEqual(['in time', undefined]);
  });

  it('goes out of service when it fails, and lets all go on that wait', async () => {
    const { asked, answers, read, reasons } = await rig();
    read('one');
    await settled();
    read('two');
    asked[0]!.fail('the thread has ended');
    await settled();
    expect(reasons).toEqual(['the thread has ended']);
    expect(answers).toEqual([
      ['one', undefined],
      ['two', undefined],
    ]);
  });

  it('lets all go on when it is closed, and is not out of service by that', async () => {
    const { answers, read, reasons, vectors, close } = await rig();
    read('one');
    await vectors.close();
    expect(answers).toEqual([['one', undefined]]);
    expect(reasons).toEqual([]);
    expect(close).toHaveBeenCalledOnce();
  });
});
