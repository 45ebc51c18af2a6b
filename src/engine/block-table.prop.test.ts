import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockTable, NO_SLOT } from './block-table.js';

/** Ids as prompts have them: in rows, some beyond 32 bits, and strings of an emulated server beside them. */
const key = fc.oneof(
  fc.integer({ min: 0, max: 400 }),
  fc.integer({ min: 2 ** 33, max: 2 ** 33 + 100 }),
  fc.integer({ min: -40, max: -1 }),
  fc.integer({ min: 0, max: 20 }).map(String),
);
const action = fc.record({ kind: fc.constantFrom('add', 'add', 'add', 'remove', 'clear'), key });

describe('BlockTable', () => {
  it('knows what a map knows', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 600 }), (actions) => {
        const table = new BlockTable();
        const known = new Map<string | number, number>();
        for (const [index, { kind, key }] of actions.entries()) {
          if (kind === 'add') {
            const slot = table.add(key);
            expect(slot === NO_SLOT).toBe(known.has(key));
            if (slot === NO_SLOT) continue;
            expect([...known.values()]).not.toContain(slot);
            expect(slot).toBeLessThan(table.room);
            known.set(key, slot);
          } else if (kind === 'remove') {
            const slot = known.get(key);
            if (slot !== undefined) table.remove(slot);
            known.delete(key);
          } else if (index % 50 === 0) {
            table.clear();
            known.clear();
          }
          expect(table.find(key)).toBe(known.get(key) ?? NO_SLOT);
        }
        for (const [each, slot] of known) {
          expect(table.find(each)).toBe(slot);
          expect(table.keyOf(slot)).toBe(each);
        }
      }),
    );
  });
});
