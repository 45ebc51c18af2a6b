import { describe, expect, it } from 'vitest';
import type { DecisionRecord } from '../bus/contract.js';
import { DecisionLog } from './decision-log.js';

const record = (stageId: string, ended = false) =>
  ({ stage: { stageId }, ...(ended ? { outcome: { kind: 'completed' } } : {}) }) as DecisionRecord;

describe('DecisionLog', () => {
  it('keeps the newest records, forgets the oldest, and takes an id that comes again for the newer request', () => {
    const log = new DecisionLog({ capacity: 3 });
    const again = record('a');
    for (const each of [record('a'), record('b'), again, record('c')]) log.open(each);
    expect(log.get('a')).toBe(again);
    expect(log.get('b')).toBeDefined();
    log.open(record('d'));
    expect(log.get('b')).toBeUndefined();
    expect(log.get('a')).toBe(again);
    log.open(record('e'));
    expect(log.get('a')).toBeUndefined();
    expect(log.get('e')).toBeDefined();
  });

  it('knows the newest request that has ended, before and after its ring is full', () => {
    const log = new DecisionLog({ capacity: 2 });
    expect(log.last()).toBeUndefined();
    log.open(record('a', true));
    log.open(record('b'));
    expect(log.last()?.stage.stageId).toBe('a');
    log.open(record('c', true));
    expect(log.last()?.stage.stageId).toBe('c');
  });
});
