import { describe, expect, it } from 'vitest';
import { Adapters } from './adapters.js';
import { HttpError } from './http-error.js';

/** What vLLM 0.29.0 said on a CPU, with `planner` loaded from the start. */
const REFUSALS: readonly [string, (adapters: Adapters) => void, object][] = [
  [
    'a name that is taken',
    (adapters) => adapters.load('planner', '/a', false),
    {
      message:
        "The lora adapter 'planner' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.",
      ...{ type: 'InvalidUserInput', param: null, code: 400 },
    },
  ],
  [
    'no name',
    (adapters) => adapters.load('', '', false),
    {
      message: "Both 'lora_name' and 'lora_path' must be provided.",
      ...{ type: 'InvalidUserInput', param: null, code: 400 },
    },
  ],
  [
    'one that is not there',
    (adapters) => adapters.unload('critic'),
    { message: "The lora adapter 'critic' cannot be found.", type: 'NotFoundError', param: null, code: 404 },
  ],
];

describe('Adapters', () => {
  it.each(REFUSALS)('refuse %s in the words of vLLM', (_, act, error) => {
    const adapters = new Adapters(['planner=/adapters/planner']);
    let thrown: unknown;
    try {
      act(adapters);
    } catch (caught) {
      thrown = caught;
    }
    expect(thrown).toBeInstanceOf(HttpError);
    expect((thrown as HttpError).body).toEqual({ error });
    expect(adapters.names).toEqual(['planner']);
  });

  it('are loaded, loaded again in place, and unloaded', () => {
    const adapters = new Adapters(['planner=/a']);
    adapters.load('critic', '/b', false);
    adapters.load('planner', '/c', true);
    expect(adapters.names).toEqual(['planner', 'critic']);
    expect(adapters.pathOf('planner')).toBe('/c');
    adapters.unload('planner');
    expect(adapters.has('planner')).toBe(false);
  });

  it('from the command line are NAME=PATH', () => {
    expect(() => new Adapters(['planner'])).toThrow('--lora-modules takes NAME=PATH, not planner');
  });
});
