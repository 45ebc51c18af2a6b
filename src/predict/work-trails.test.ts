import { expect, it } from 'vitest';
import { NO_PLACE } from '../model/lru-places.js';
import { WorkTrails } from './work-trails.js';

const KIND = { template: 't', model: 'm', role: 'r' };

function stagesOf(trails: WorkTrails, trail: number): number[] {
  const notes: number[] = [];
  trails.visit(trail, (_kind, _index, _beforeMs, note) => notes.push(note));
  return notes;
}

function push(trails: WorkTrails, trail: number, note: number, endMs: number, addedMs = 1): void {
  trails.push(trail, { kind: KIND, invocationIndex: note, beforeMs: 0, addedMs, endMs, note });
}

it('keeps the stages of each workflow in order, whatever places they are given again', () => {
  const evicted: number[][] = [];
  const trails: WorkTrails = new WorkTrails(
    2,
    (trail) => evicted.push(stagesOf(trails, trail)),
    () => undefined,
  );
  const a = trails.begin('a');
  push(trails, a, 1, 10);
  const b = trails.begin('b');
  push(trails, b, 2, 11);
  push(trails, a, 3, 12, 5);
  expect(trails.attainedMs(a)).toBe(6);
  expect(trails.coveredUntilMs(a)).toBe(12);
  expect(trails.attainedBefore(a, 11)).toBe(1);
  trails.end('a');
  expect(trails.peek('a')).toBe(NO_PLACE);
  const c = trails.begin('c');
  for (let note = 4; note < 40; note++) push(trails, c, note, note);
  expect(trails.attainedMs(c)).toBe(36);
  trails.begin('d');
  expect(evicted).toEqual([[2]]);
  expect(stagesOf(trails, trails.get('c'))).toEqual(Array.from({ length: 36 }, (_, index) => index + 4));
  trails.begin('e');
  expect(evicted).toEqual([[2], []]);
});

it('loses the beginning of a trail that has grown too long, and tells', () => {
  const lost: number[] = [];
  const trails = new WorkTrails(
    2,
    () => undefined,
    (note) => lost.push(note),
  );
  const trail = trails.begin('long');
  for (let note = 0; note < 1_026; note++) push(trails, trail, note, note);
  expect(lost).toEqual([0, 1]);
  expect(stagesOf(trails, trail)).toHaveLength(1_024);
  expect(stagesOf(trails, trail)[0]).toBe(2);
  expect(trails.attainedMs(trail)).toBe(1_026);
});
