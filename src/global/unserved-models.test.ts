import { expect, it } from 'vitest';
import { type Prospect, UnservedModels } from './unserved-models.js';

it('waits ten seconds for engines that are down, and for none where there are none', () => {
  const unserved = new UnservedModels();
  const prospects: Record<string, Prospect> = { up: 'served', down: 'down', gone: 'none', empty: 'none' };
  const hopeless = (nowMs: number) =>
    unserved.hopeless({ up: 1, down: 1, gone: 1, empty: 0 }, (model) => prospects[model]!, nowMs);
  expect(hopeless(0)).toEqual(['gone']);
  expect(hopeless(9_999)).toEqual(['gone']);
  expect(hopeless(10_000)).toEqual(['down', 'gone']);
  prospects['down'] = 'served';
  expect(hopeless(10_001)).toEqual(['gone']);
  prospects['down'] = 'down';
  expect(hopeless(15_000)).toEqual(['gone']);
});
