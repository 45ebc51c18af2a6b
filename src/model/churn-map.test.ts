import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ChurnMap } from './churn-map.js';

it('agrees with Map under random sets, deletes and look-ups, in a table so small that everything collides', () => {
  const command = fc.tuple(fc.constantFrom('set', 'set', 'delete', 'get'), fc.integer({ min: 0, max: 30 }));
  fc.assert(
    fc.property(fc.array(command, { maxLength: 300 }), (commands) => {
      const map = new ChurnMap<number>(2);
      const model = new Map<string, number>();
      for (const [step, [kind, number]] of commands.entries()) {
        const key = `request-${number}`;
        if (kind === 'set') {
          map.set(key, step);
          model.set(key, step);
        } else if (kind === 'delete') expect(map.delete(key)).toBe(model.delete(key));
        expect(map.get(key)).toBe(model.get(key));
        expect(map.has(key)).toBe(model.has(key));
        expect(map.size).toBe(model.size);
      }
      expect(new Map(map)).toEqual(model);
      expect([...map.values()].sort()).toEqual([...model.values()].sort());
    }),
  );
});

it('takes the empty string and keys that differ only in their last letter', () => {
  const map = new ChurnMap<string>(4);
  for (const key of ['', 'a', 'b', 'aa', 'ab']) map.set(key, `value of ${key}`);
  expect(map.get('')).toBe('value of ');
  expect(map.get('ab')).toBe('value of ab');
  expect(map.delete('')).toBe(true);
  expect(map.delete('')).toBe(false);
  expect(map.size).toBe(4);
});
