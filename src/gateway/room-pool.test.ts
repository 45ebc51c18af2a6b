import { expect, it } from 'vitest';
import { RoomPool } from './room-pool.js';

it('hands out each buffer to one user at a time, and the same one again', () => {
  const pool = new RoomPool();
  const first = pool.take(10_000);
  expect(first.length).toBe(16_384);
  const second = pool.take(16_384);
  expect(second).not.toBe(first);
  pool.give(first);
  expect(pool.take(9_000)).toBe(first);
  expect(pool.take(9_000)).not.toBe(first);
});

it('keeps a bounded amount, and nothing that did not come from it', () => {
  const pool = new RoomPool();
  const rooms = Array.from({ length: 40 }, () => pool.take(1_000_000));
  for (const room of rooms) pool.give(room);
  pool.give(Buffer.alloc(10_001));
  pool.give(pool.take(5_000_000));
  const again = Array.from({ length: 40 }, () => pool.take(1_000_000));
  expect(again.filter((room) => rooms.includes(room))).toHaveLength(16);
  expect(pool.take(10_001).length).toBe(16_384);
});
