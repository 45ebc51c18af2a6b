import { expect, it } from 'vitest';
import { makeStage } from '../../test/stage-fixture.js';
import { UnservedModels } from './unserved-models.js';

const waiting = (...asked: { model: string; adapter?: string }[]) =>
  asked.map((fields) => ({ stage: makeStage(fields) }));
const PLANNER = { model: 'm', adapter: 'planner' };

function build() {
  const up = new Set<string>();
  const gone = new Set<string>();
  const unserved = new UnservedModels(
    (name) => (gone.has(name) ? undefined : { enginesUp: up.has(name) ? 1 : 0 }),
    (model) => model === 'started',
  );
  const hopeless = (nowMs: number, ...asked: { model: string; adapter?: string }[]) =>
    unserved.hopeless(waiting(...asked), nowMs).map(({ stage }) => stage.adapter ?? stage.model);
  return { up, gone, hopeless };
}

it('tells the stages of models and adapters apart, each after its own grace', () => {
  const { up, hopeless } = build();
  up.add('m');
  expect(hopeless(0, PLANNER, { model: 'm' })).toEqual([]);
  expect(hopeless(5_000, PLANNER, { model: 'n' })).toEqual([]);
  expect(hopeless(9_999, PLANNER, { model: 'n' })).toEqual([]);
  expect(hopeless(10_000, PLANNER, PLANNER, { model: 'm' }, { model: 'n' })).toEqual(['planner', 'planner']);
  expect(hopeless(15_000, PLANNER, { model: 'n' })).toEqual(['planner', 'n']);
});

it.each([
  ['an engine has come back', true, [PLANNER]],
  ['nobody waits any more', false, []],
])('begins anew when %s', (_what, comesBack, asked) => {
  const { up, hopeless } = build();
  hopeless(0, PLANNER);
  if (comesBack) up.add('planner');
  hopeless(9_000, ...asked);
  up.clear();
  expect(hopeless(11_000, PLANNER)).toEqual([]);
  expect(hopeless(21_000, PLANNER)).toEqual(['planner']);
});

it('waits for nobody where no engine of the fleet serves it', () => {
  const { gone, hopeless } = build();
  gone.add('planner');
  expect(hopeless(0, PLANNER, { model: 'm' })).toEqual(['planner']);
});

it('waits for engines of the model that are being started, for its adapters too', () => {
  const { hopeless } = build();
  expect(hopeless(0, { model: 'started', adapter: 'critic' })).toEqual([]);
  expect(hopeless(60_000, { model: 'started', adapter: 'critic' })).toEqual([]);
});
