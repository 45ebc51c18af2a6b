import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { WriteBatch } from './write-batch.js';

describe('WriteBatch', () => {
  const gather = (count: number) => {
    const batch = new WriteBatch();
    const left: number[] = [];
    const add = (index: number) => batch.add({ release: () => left.push(index) });
    for (let index = 0; index < count; index++) add(index);
    return { left, add };
  };

  it('lets the writes of one turn go at its end, in order', async () => {
    const { left, add } = gather(3);
    expect(left).toEqual([]);
    await turn();
    expect(left).toEqual([0, 1, 2]);
    add(3);
    expect(left).toHaveLength(3);
    await turn();
    expect(left).toEqual([0, 1, 2, 3]);
  });

  it('lets nobody wait for more than fifteen others', async () => {
    const { left } = gather(20);
    expect(left).toHaveLength(16);
    await turn();
    expect(left).toHaveLength(20);
  });

  it('does what nobody waits for after the writes', async () => {
    const batch = new WriteBatch();
    const done: string[] = [];
    batch.afterwards(() => done.push('afterwards'));
    batch.add({ release: () => done.push('write') });
    expect(done).toEqual([]);
    await turn();
    expect(done).toEqual(['write', 'afterwards']);
  });

  it('takes a write that comes of another one that leaves', async () => {
    const { left, add } = gather(0);
    const batch = new WriteBatch();
    batch.add({ release: () => batch.add({ release: () => left.push(7) }) });
    await turn();
    await turn();
    expect(left).toEqual([7]);
    add(8);
    await turn();
    expect(left).toEqual([7, 8]);
  });
});
