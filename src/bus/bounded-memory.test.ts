import { afterEach, expect, it, vi } from 'vitest';
import { makeStage } from '../../test/stage-fixture.js';
import { RecentMap } from '../cluster/recent-map.js';
import { parseConfig } from '../config/load.js';
import { toNodeSpecs } from '../config/node-specs.js';
import { FakeVllm } from '../engine/vllm/fake-vllm-fixture.js';
import type { ReplayWorker } from '../global/portfolio/service.js';
import { ManualClock } from '../model/clock.js';
import { LruMap } from '../model/lru-map.js';
import { LruPlaces } from '../model/lru-places.js';
import { createLogger } from '../observe/log.js';
import { createLocalLevels, type LocalLevels } from './local.js';
import { WallClock } from './wall-clock.js';

const CALLS = 2_000;

/** Lists that are long by right, because something else limits them. */
const LIMITED = [
  // By the place of a stage in the trails of so many workflows.
  'levels.predictor.remaining.trails.kinds',
  // A ring.
  'levels.scheduling.options.decisionLog.ring',
  // Twice `maxWorkflows` at most, beside those that are under way.
  'levels.scheduling.options.scheduler.config.traffic.workflows',
];

/** Collections with more entries than this have grown with the names that clients have made up. */
const MANY = CALLS / 4;

/** Paths of what has more than {@link MANY} entries and is no map with a limit of its own. */
function grown(root: object): string[] {
  const found: string[] = [];
  const seen = new Set<unknown>([root]);
  const todo: [string, object][] = [['levels', root]];
  for (let next = todo.pop(); next; next = todo.pop()) {
    const [path, value] = next;
    const isLimited = value instanceof LruMap || value instanceof RecentMap || value instanceof LruPlaces;
    const size = Array.isArray(value) ? value.length : value instanceof Map || value instanceof Set ? value.size : 0;
    if (size > MANY) found.push(path);
    const inside: [string, unknown][] =
      value instanceof Map
        ? [...value].slice(0, MANY).map(([, each]) => ['{}', each])
        : value instanceof Set
          ? [...value].slice(0, MANY).map((each) => ['{}', each])
          : value instanceof LruMap
            ? [...value].slice(0, MANY).map(([, each]) => ['{}', each])
            : isLimited || ArrayBuffer.isView(value)
              ? []
              : Array.isArray(value)
                ? value.slice(0, MANY).map((each) => ['[]', each])
                : Object.entries(value);
    for (const [name, each] of inside) {
      if (typeof each !== 'object' || each === null || seen.has(each)) continue;
      seen.add(each);
      todo.push([`${path}.${name}`, each]);
    }
  }
  return [...new Set(found)].sort();
}

let levels: LocalLevels;
const engine = new FakeVllm({ models: ['m'] });
afterEach(async () => {
  await levels.stop();
  await engine.stop();
});

it('keeps no more of calls that have ended than maps with a limit hold, whatever names clients make up', async () => {
  const url = await engine.start();
  const config = parseConfig(`fleet: {nodes: [{id: n, engines: [{id: e, model: m, url: "${url}"}]}]}`, 'test.yaml');
  const clock = new ManualClock();
  const logger = createLogger({ level: 'silent' });
  const replays: ReplayWorker = { evaluate: () => new Promise(() => undefined), close: async () => undefined };
  const nodes = toNodeSpecs(config);
  levels = createLocalLevels({ config, nodes, clock, wallClock: new WallClock(), logger, replays });
  await levels.start();
  for (let call = 0; call < CALLS; call++) {
    const named = (what: string) => `${what}-${call}`;
    const stage = makeStage({
      ...{ stageId: named('s'), workflowId: named('w'), tenant: named('t'), template: named('p'), role: named('r') },
      ...{ model: 'm', promptTokens: 10, maxTokens: 10, arrivalMs: clock.nowMs(), deadlineMs: clock.nowMs() + 60_000 },
    });
    const begun = vi.fn();
    const handle = levels.scheduling.submit(stage, 'test', { onStart: begun, onReject: begun, onRequeue: () => false });
    for (let turns = 0; turns < 100 && begun.mock.calls.length === 0; turns++) {
      clock.advance(10);
      await Promise.resolve();
    }
    expect(begun.mock.calls[0]).toMatchObject([{ engineId: 'e' }]);
    clock.advance(10);
    handle.finish({ kind: 'completed', httpStatus: 200, promptTokens: 10, outputTokens: 5, durationMs: 10 });
  }
  expect(levels.scheduling.openStages).toBe(0);
  expect(grown(levels)).toEqual(LIMITED);
});
