import { expect, it } from 'vitest';
import { SaidWork } from './said-work.js';

it('gives back what it was given once, and nothing that was revoked', () => {
  const said = new SaidWork();
  const notes = [1, 2, 3].map((model) => said.keep({ model, lookup: 10 * model, blend: 5, served: 0.5, recent: 3 }));
  expect(said.take(notes[1]!)).toEqual({ model: 2, lookup: 20, blend: 5, served: 0.5, recent: 3 });
  expect(said.keep({ model: 7, lookup: 8, blend: 9, served: 0, recent: 0 })).toBe(notes[1]);
  said.revoke();
  expect(said.take(notes[0]!)).toBeUndefined();
  const later = said.keep({ model: 4, lookup: 5, blend: 6, served: -1, recent: -2 });
  expect(said.take(later)).toEqual({ model: 4, lookup: 5, blend: 6, served: -1, recent: -2 });
});
