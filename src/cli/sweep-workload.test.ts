import { expect, it } from 'vitest';
import { parseConfig } from '../config/load.js';
import { sweepWorkload } from './sweep-workload.js';

const config = parseConfig(
  `
fleet:
  nodes:
    - id: n
      hostMemory: 128GiB
      gpus: { type: h100-sxm, count: 1 }
      engines: [{ id: e, model: llama-3.1-8b, gpus: [0], maxModelLen: 4096 }]
classes:
  - { name: chat, kind: interactive, deadline: 1m, ttft: 2s, tpot: 100ms }
  - { name: night, kind: batch, deadline: 1h }
defaultClass: chat
`,
  'fleet',
);
const row = { input_length: 10, output_length: 5 };
const play = (...rows: Parameters<typeof sweepWorkload>[0]['rows']) =>
  sweepWorkload({
    ...{ name: 'x', about: '', rows, config, modelMap: new Map(), capacitySpeed: 1, warmupShare: 0 },
  });

it('what of a trace cannot be played as it stands is told', () => {
  const { workflows, notes } = play(
    { ...row, request_id: 'a', timestamp: 0, class: 'gold' },
    { ...row, request_id: 'b', timestamp: 1, class: 'batch', max_tokens: 4 },
    { ...row, request_id: 'c', timestamp: 2, class: 'night', input_length: 4096 },
    { ...row, request_id: 'd' },
  );
  // Classes are those that the front door would give them.
  expect(workflows.map(({ sloClass }) => sloClass)).toEqual(['chat', 'night', 'night']);
  expect(notes).toEqual([
    '3 of 4 calls name no max_tokens: 4096 are taken for it, doubled until the answer fits.',
    '1 of 4 workflows have no arrival time and are left out.',
    '1 of 4 workflows have a call whose prompt is longer than any engine of its model takes (maxModelLen): it is rejected, and they count as misses.',
    '1 of 4 workflows have an answer that is longer than max_tokens or the context leave room for: it ends there.',
    'The fleet file has no class gold; those workflows are of class chat.',
  ]);
  expect(play({ ...row, request_id: 'a', timestamp: 0, class: 'chat', max_tokens: 9 }).notes).toEqual([]);
});

it('round trips are those that are given, of clusters that the fleet has', () => {
  const rows = [{ ...row, request_id: 'a', timestamp: 0 }];
  const away = (rttMs: Record<string, number>) =>
    sweepWorkload({
      ...{ name: 'x', about: '', rows, config, modelMap: new Map(), capacitySpeed: 1, warmupShare: 0, rttMs },
    });
  expect(away({ local: 30 }).rttMs).toEqual({ local: 30 });
  expect(() => away({ lokal: 30 })).toThrow('The fleet has no cluster lokal; it has local.');
});
