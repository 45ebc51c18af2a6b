import { expect, it } from 'vitest';
import { SeededRng } from '../../src/model/rng.js';
import { shuffle } from './draw.js';

it('shuffles evenly: everything comes to every place, staying included', () => {
  const rng = new SeededRng(1);
  const counts = Array.from({ length: 4 }, () => [0, 0, 0, 0]);
  const draws = 4000;
  for (let draw = 0; draw < draws; draw++) {
    const items = [0, 1, 2, 3];
    shuffle(items, rng);
    expect([...items].sort()).toEqual([0, 1, 2, 3]);
    for (const [place, item] of items.entries()) counts[item]![place]! += 1;
  }
  // Five standard deviations are 0.034.
  for (const count of counts.flat()) expect(Math.abs(count / draws - 0.25)).toBeLessThan(0.035);
});
