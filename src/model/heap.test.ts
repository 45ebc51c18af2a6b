import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type HeapEntry, StableHeap } from './heap.js';

describe('StableHeap', () => {
  it('pops by key and, among equal keys, in order of arrival', () => {
    const heap = new StableHeap<string>();
    for (const [value, key] of [
      ['late', 9],
      ['first of two', 3],
      ['second of two', 3],
      ['early', -1],
    ] as const) {
      heap.push(value, key);
    }
    expect([heap.pop(), heap.pop(), heap.pop(), heap.pop(), heap.pop()]).toEqual([
      'early',
      'first of two',
      'second of two',
      'late',
      undefined,
    ]);
  });

  it('keeps the age of an entry that is re-keyed', () => {
    const heap = new StableHeap<string>();
    const oldest = heap.push('oldest', 5);
    heap.push('younger', 1);
    expect(heap.rekey(oldest, 1)).toBe(true);
    expect(heap.pop()).toBe('oldest');
    expect(heap.rekey(oldest, 0)).toBe(false);
    expect(heap.remove(oldest)).toBe(false);
  });

  it('takes an entry back as the youngest of its equals, once it has left', () => {
    const heap = new StableHeap<string>();
    const entry = heap.push('comes back', 1);
    expect(heap.pushAgain(entry, 2)).toBe(false);
    expect(heap.pop()).toBe('comes back');
    heap.push('older', 2);
    expect(heap.pushAgain(entry, 2)).toBe(true);
    expect([heap.pop(), heap.pop(), heap.pop()]).toEqual(['older', 'comes back', undefined]);
  });

  it('agrees with a sorted array under random pushes, pops, removals and re-keyings', () => {
    const command = fc.tuple(
      fc.constantFrom('push', 'push', 'pop', 'remove', 'rekey'),
      fc.integer({ min: 0, max: 6 }),
      fc.nat(),
    );
    fc.assert(
      fc.property(fc.array(command, { maxLength: 200 }), (commands) => {
        const heap = new StableHeap<number>();
        const model: { id: number; key: number; entry: HeapEntry<number> }[] = [];
        const first = () => [...model].sort((a, b) => a.key - b.key || a.id - b.id)[0];
        let nextId = 0;
        for (const [kind, key, pick] of commands) {
          const target = model.length > 0 ? model[pick % model.length] : undefined;
          if (kind === 'push') {
            const id = nextId++;
            model.push({ id, key, entry: heap.push(id, key) });
          } else if (kind === 'pop') {
            const expected = first();
            expect(heap.pop()).toBe(expected?.id);
            if (expected) model.splice(model.indexOf(expected), 1);
          } else if (target && kind === 'remove') {
            expect(heap.remove(target.entry)).toBe(true);
            model.splice(model.indexOf(target), 1);
          } else if (target) {
            expect(heap.rekey(target.entry, key)).toBe(true);
            target.key = key;
          }
          expect(heap.size).toBe(model.length);
          expect(heap.peek()?.value).toBe(first()?.id);
        }
      }),
    );
  });
});
