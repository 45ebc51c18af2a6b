import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { makeView } from '../../test/engine-view-fixture.js';
import { makeStage } from '../../test/stage-fixture.js';
import { type EngineRecord, linearCosts } from './engine-record.js';
import { PrefixIndex } from './prefix.js';

function engine(engineId: string, model = 'model-a'): EngineRecord {
  const view = makeView(engineId, {}, { model });
  return {
    view,
    costs: linearCosts(view.spec),
    pendingLeases: 0,
    pendingKvTokens: 0,
    heldBeside: 0,
    slowness: 1,
    stale: false,
    leaseTime: { meanMs: 1 },
    cacheGeneration: 0,
    ranks: [],
  };
}

const LIMITS = { maxPrefixes: 1_000, maxWorkflows: 10 };
const hashes = (count: number, name = 'h') => Array.from({ length: count }, (_, index) => `${name}${index}`);

describe('PrefixIndex', () => {
  it('finds the engine with the longest common prefix first', () => {
    const index = new PrefixIndex(LIMITS);
    const [short, long] = [engine('n0/short'), engine('n0/long')];
    index.learn(makeStage({ prefixHashes: hashes(2) }), short);
    index.learn(makeStage({ prefixHashes: hashes(5) }), long);
    const cached = index.cachedTokens(makeStage({ prefixHashes: hashes(10), promptTokens: 1_000 }));
    expect([...cached]).toEqual([
      [long, 500],
      [short, 200],
    ]);
  });

  it('forgets what an engine that lost its cache had, and does not mix models', () => {
    const index = new PrefixIndex(LIMITS);
    const holder = engine('n0/e0');
    index.learn(makeStage({ prefixHashes: hashes(3) }), holder);
    expect(index.cachedTokens(makeStage({ prefixHashes: hashes(3), model: 'model-b' })).size).toBe(0);
    expect(index.cachedTokens(makeStage({ prefixHashes: hashes(3) })).size).toBe(1);
    holder.cacheGeneration += 1;
    expect(index.cachedTokens(makeStage({ prefixHashes: hashes(3) })).size).toBe(0);
  });

  it('falls back to the last engine of the role in the workflow where there are no hashes', () => {
    const index = new PrefixIndex(LIMITS);
    const holder = engine('n0/e0');
    index.learn(makeStage({ role: 'coder', promptTokens: 700 }), holder);
    expect([...index.cachedTokens(makeStage({ role: 'coder', promptTokens: 900 }))]).toEqual([[holder, 700]]);
    expect([...index.cachedTokens(makeStage({ role: 'coder', agent: 'second', promptTokens: 900 }))]).toHaveLength(1);
    expect(index.cachedTokens(makeStage({ role: 'critic' })).size).toBe(0);
    expect(index.cachedTokens(makeStage({ role: 'coder', workflowId: 'other' })).size).toBe(0);
  });

  it('always finds a prompt that continues the last one, and never claims more than is shared', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 80 }),
        fc.integer({ min: 0, max: 80 }),
        fc.integer({ min: 0, max: 40 }),
        (learned, shared, added) => {
          const index = new PrefixIndex(LIMITS);
          const holder = engine('n0/e0');
          const common = Math.min(learned, shared);
          index.learn(makeStage({ prefixHashes: hashes(learned) }), holder);
          const prefixHashes = [...hashes(common), ...hashes(added + 1, 'other')];
          const promptTokens = prefixHashes.length * 100;
          const cached = index.cachedTokens(makeStage({ prefixHashes, promptTokens })).get(holder) ?? 0;
          expect(cached).toBeLessThanOrEqual(common * 100);
          if (common === learned) expect(cached).toBe(common * 100);
          // Any other shared beginning is found up to the last doubling.
          else expect(cached).toBeGreaterThanOrEqual(Math.floor(common / 2) * 100);
        },
      ),
    );
  });
});
