import { describe, expect, it } from 'vitest';
import type { DecisionRecord } from '../bus/contract.js';
import { DecisionLog } from './decision-log.js';

const record = (stageId: string, kind: 'completed' | 'engine_failed' = 'completed') =>
  ({ stage: { stageId }, outcome: { kind } }) as DecisionRecord;

/** More time than a record needs to be kept besides any others. */
const PAUSE_MS = 60_000;

describe('DecisionLog', () => {
  it('keeps the newest records, forgets the oldest, and takes an id that comes again for the newer request', () => {
    const log = new DecisionLog({ capacity: 3 });
    const again = record('a');
    let nowMs = 0;
    const close = (each: DecisionRecord) => {
      nowMs += PAUSE_MS;
      log.close(each, nowMs);
    };
    for (const each of [record('a'), record('b'), again, record('c')]) close(each);
    expect(log.get('a')).toBe(again);
    expect(log.get('b')).toBeDefined();
    close(record('d'));
    expect(log.get('b')).toBeUndefined();
    expect(log.get('a')).toBe(again);
    close(record('e'));
    expect(log.get('a')).toBeUndefined();
    expect(log.get('e')).toBeDefined();
  });

  it('writes when a request ended by the time of day, since its own times count from the start of the process', () => {
    const lines: string[] = [];
    const log = new DecisionLog({
      capacity: 1,
      file: { write: (line) => void lines.push(line), end: async () => undefined, lost: 0 },
      unixMs: () => 1_700_000_000_000,
    });
    log.close(record('a'), 5);
    expect(lines.map((line) => JSON.parse(line))).toEqual([{ endedAt: '2023-11-14T22:13:20.000Z', ...record('a') }]);
  });

  it('knows the newest', () => {
    const log = new DecisionLog({ capacity: 2 });
    expect(log.last()).toBeUndefined();
    for (const id of ['a', 'b', 'c']) {
      log.close(record(id), 0);
      expect(log.last()?.stage.stageId).toBe(id);
      expect(log.get(id)).toBe(log.last());
    }
  });

  it('knows the newest of a tenant', () => {
    const log = new DecisionLog({ capacity: 3 });
    const of = (stageId: string, tenant: string) => ({ stage: { stageId, tenant } }) as DecisionRecord;
    for (const each of [of('a1', 'a'), of('a2', 'a'), of('b1', 'b')]) log.close(each, PAUSE_MS);
    expect(log.last()?.stage.stageId).toBe('b1');
    expect(log.last('a')?.stage.stageId).toBe('a2');
    expect(log.last('c')).toBeUndefined();
  });

  it('reaches back for a minute however many end, with a burst in whole and everything that failed', () => {
    const capacity = 1000;
    const log = new DecisionLog({ capacity });
    for (let index = 0; index < capacity / 2; index++) log.close(record(`burst${index}`), 0);
    for (let index = 0; index < capacity / 2; index++) expect(log.get(`burst${index}`)).toBeDefined();
    const perSecond = 300;
    let failed = 0;
    for (let index = 1; index <= 60 * perSecond; index++) {
      const fails = index % 200 === 0;
      if (fails) failed += 1;
      log.close(record(`${index}`, fails ? 'engine_failed' : 'completed'), (1000 * index) / perSecond);
    }
    const kept = Array.from({ length: 60 * perSecond }, (_, index) => index + 1).filter((index) => log.get(`${index}`));
    expect(kept.filter((index) => index % 200 === 0)).toHaveLength(failed);
    expect(kept.length).toBeGreaterThan(capacity / 2 - 5);
    expect(kept.length).toBeLessThan(capacity / 2 + failed + 5);
    // Of the first seconds as of the last.
    expect(kept.filter((index) => index <= 10 * perSecond).length).toBeGreaterThan(capacity / 20);
  });
});
