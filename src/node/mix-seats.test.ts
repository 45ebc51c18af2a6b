import { describe, expect, it } from 'vitest';
import { findGpu } from '../model/gpu-catalogue.js';
import { findLlm } from '../model/llm-catalogue.js';
import { MixSeats } from './mix-seats.js';
import { testEngine } from './node-fixture.js';

const KNOWN = { llm: findLlm('llama-3.1-8b')!, gpu: findGpu('l40s')!, tpotMs: 100, seats: 59, maxNumSeqs: 256 };
const CODE = { promptTokens: 2_000, cachedTokens: 0, outputTokens: 28, completed: true };
const CHAT = { promptTokens: 500, cachedTokens: 0, outputTokens: 400, completed: true };

function seatsAfter(calls: number, use: object, changes: object = {}): number {
  const mix = new MixSeats({ ...testEngine('e'), ...KNOWN, ...changes });
  for (let call = 0; call < calls; call++) mix.ended({ ...use });
  return mix.seats;
}

describe('MixSeats', () => {
  it('gives those of the specification before some calls have ended', () => {
    expect(seatsAfter(63, CODE)).toBe(59);
    expect(seatsAfter(64, CODE)).not.toBe(59);
    expect(seatsAfter(63, CODE, { maxNumSeqs: 32 })).toBe(32);
  });

  it('gives fewer seats where prompts are the work, and more where answers are', () => {
    expect(seatsAfter(64, CODE)).toBeLessThan(59 / 3);
    expect(seatsAfter(64, CHAT)).toBeGreaterThan(59);
    expect(seatsAfter(64, CHAT, { seats: 150 })).toBe(150);
  });

  it('gives as many engines of a dense model as there are ranks their seats together', () => {
    const ranks = { gpuIndices: [0, 1], dataParallel: 2, seats: 118, maxNumSeqs: 512 };
    for (const use of [CODE, CHAT]) expect(seatsAfter(64, use, ranks)).toBe(2 * seatsAfter(64, use));
  });

  it('follows the traffic', () => {
    const mix = new MixSeats({ ...testEngine('e'), ...KNOWN });
    for (let call = 0; call < 640; call++) mix.ended(CHAT);
    for (let call = 0; call < 640; call++) mix.ended(CODE);
    expect(mix.seats).toBeLessThan(59 / 3);
  });

  it('learns nothing from calls that were cut off or do not say what was cached, nor without a target, a model or a GPU', () => {
    expect(seatsAfter(200, { ...CODE, completed: false })).toBe(59);
    expect(seatsAfter(200, { ...CODE, cachedTokens: undefined })).toBe(59);
    expect(seatsAfter(200, { ...CODE, outputTokens: 0 })).toBe(59);
    for (const missing of ['tpotMs', 'llm', 'gpu']) expect(seatsAfter(200, CODE, { [missing]: undefined })).toBe(59);
  });
});
