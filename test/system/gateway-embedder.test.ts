import { afterEach, describe, expect, it, vi } from 'vitest';
import { ManualClock } from '../../src/model/clock.js';
import type { TextVector } from '../../src/model/text-vector.js';
import { TextVectors } from '../../src/predict/text-vectors/service.js';
import { type Rig, startRig } from './gateway-fixture.js';

/** An event may take as long as a busy machine needs. */
const SOON = { timeout: 20_000 };

let rig: Rig;
afterEach(() => rig.close());

const vectorOf = (text: string): TextVector => ({ embedder: 'test', values: [text.length] });
const ask = (content: string, init: RequestInit = {}) =>
  fetch(`${rig.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'tiny', messages: [{ role: 'user', content }] }),
    ...init,
  });

/** A front door whose embedder answers when the test says so. */
async function start() {
  const clock = new ManualClock();
  const asked: { readonly texts: readonly string[]; answer(): void }[] = [];
  let heard: () => void = () => undefined;
  const textVectors = new TextVectors({
    ...{ waitMs: 20, clock, onOutOfService: () => undefined },
    source: {
      embed: (texts) =>
        new Promise((resolve) => {
          asked.push({ texts, answer: () => resolve(texts.map(vectorOf)) });
          heard();
        }),
      close: async () => undefined,
    },
  });
  const starting = textVectors.start();
  asked.shift()!.answer();
  await starting;
  rig = await startRig({ textVectors });
  const nextAsked = () =>
    new Promise<void>((resolve) => {
      heard = resolve;
    });
  return { clock, asked, nextAsked };
}

describe('a front door with a sentence embedder', () => {
  it('submits a request with what the embedder says of its last message', async () => {
    const { asked, nextAsked } = await start();
    const isAsked = nextAsked();
    const answer = ask('tell me a story');
    await isAsked;
    expect(rig.scheduling.submitted).toEqual([]);
    expect(asked[0]!.texts).toEqual(['tell me a story']);
    asked[0]!.answer();
    expect((await answer).status).toBe(200);
    expect(rig.scheduling.submitted[0]!.stage.features.textVector).toEqual(vectorOf('tell me a story'));
  });

  it('submits it without when the time is up', async () => {
    const { clock, nextAsked } = await start();
    const isAsked = nextAsked();
    const answer = ask('tell me a story');
    await isAsked;
    clock.advance(20);
    expect((await answer).status).toBe(200);
    expect(rig.scheduling.submitted[0]!.stage.features.textVector).toBeUndefined();
  });

  it('does not submit what nobody waits for any more', async () => {
    const { asked, nextAsked } = await start();
    const isAsked = nextAsked();
    const client = new AbortController();
    const lost = ask('tell me a story', { signal: client.signal });
    await isAsked;
    client.abort();
    await expect(lost).rejects.toThrow();
    await vi.waitFor(() => expect(rig.gateway.openRequests).toBe(0), SOON);
    const next = nextAsked();
    const second = ask('another');
    // The second waits for the run of the first.
    asked[0]!.answer();
    await next;
    asked[1]!.answer();
    expect((await second).status).toBe(200);
    expect(rig.scheduling.submitted).toHaveLength(1);
  });
});
