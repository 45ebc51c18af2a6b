import { expect, it } from 'vitest';
import { ManualClock } from '../../model/clock.js';
import { GiB } from '../../model/units.js';
import { HostMemory, type HostNode } from './host-memory.js';

function build() {
  const clock = new ManualClock();
  const host = { availableGib: 102 };
  const memory = new HostMemory(clock);
  const node = () => {
    const seen: number[] = [];
    const made = { pinning: 0, seen };
    const onHost: HostNode = {
      availableBytes: () => host.availableGib * GiB,
      pinningBytes: () => made.pinning * GiB,
      hostSeen: (bytes) => seen.push(bytes / GiB),
    };
    return Object.assign(made, {
      tell: (everyMs?: number) => memory.tell(onHost, everyMs),
      begins: (gib: number) => {
        made.pinning = gib;
        memory.begun(onHost);
      },
      leave: () => memory.leave(onHost),
    });
  };
  return { clock, host, node };
}

it('tells a node what the host has left beside its spare, and what copies of other nodes take of it', () => {
  const { host, node } = build();
  const [a, b] = [node(), node()];
  a.tell();
  b.tell();
  a.begins(30);
  expect([a.seen, b.seen]).toEqual([[100], [100, 70]]);
  // Its own copies are the ledger's to count.
  a.tell();
  expect(a.seen).toEqual([100, 100]);
  host.availableGib = 20;
  b.tell();
  expect(b.seen).toEqual([100, 70, 0]);
});

it('tells a node now and then only, unless there is news', () => {
  const { clock, node } = build();
  const [a, b] = [node(), node()];
  a.tell(5_000);
  b.tell(5_000);
  clock.advance(4_999);
  a.tell(5_000);
  expect(a.seen).toHaveLength(1);
  b.begins(10);
  expect(a.seen).toEqual([100, 90]);
  clock.advance(4_999);
  a.tell(5_000);
  expect(a.seen).toHaveLength(2);
  clock.advance(1);
  a.tell(5_000);
  expect(a.seen).toHaveLength(3);
});

it('forgets a node that has left', () => {
  const { node } = build();
  const [a, b] = [node(), node()];
  a.tell();
  b.tell();
  a.begins(30);
  a.leave();
  b.tell();
  b.begins(30);
  expect(b.seen.at(-1)).toBe(100);
  expect(a.seen).toEqual([100]);
});
