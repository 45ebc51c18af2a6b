import { expect, it } from 'vitest';
import { slownessNote } from './timer-lag.js';

it('is silent about delays that are as usual, and names others in both times', () => {
  expect(slownessNote(20, 10)).toBeUndefined();
  expect(slownessNote(900, 1)).toBeUndefined();
  expect(slownessNote(1200, 1)).toContain('came 1200 ms late. Calls');
  expect(slownessNote(250, 10)).toContain('came 250 ms late, 2.5 s of emulated time');
});
