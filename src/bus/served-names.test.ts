import { describe, expect, it } from 'vitest';
import { makeView } from '../../test/engine-view-fixture.js';
import { ServedModels } from '../cluster/served-models.js';
import type { EngineSpec } from '../model/fleet.js';
import { ServedNames } from './served-names.js';

/** The names of one cluster with these engines; `down` names those that do not answer. */
function namesOf(
  engines: Readonly<Record<string, Partial<EngineSpec>>>,
  aliases: Readonly<Record<string, string>> = {},
  down: readonly string[] = [],
) {
  const served = new ServedModels();
  const tell = (id: string, spec: Partial<EngineSpec>) =>
    served.update(makeView(id, { state: down.includes(id) ? 'down' : 'running' }, { maxModelLen: 4096, ...spec }));
  for (const [id, spec] of Object.entries(engines)) tell(id, spec);
  return { names: new ServedNames(() => [served.all()], aliases), tell };
}

const AGENTS = {
  'n/a': { model: 'llama', adapters: ['planner'], otherNames: ['llama-3'] },
  'n/b': { model: 'llama', adapters: ['planner', 'critic'] },
  'n/c': { model: 'qwen', maxModelLen: 8192 },
};

describe('ServedNames', () => {
  it('adapters are names of their own, on the engines that have them', () => {
    const { names } = namesOf(AGENTS, {}, ['n/b']);
    expect(names.all().map(({ name, base, engines, enginesUp }) => [name, base, engines, enginesUp])).toEqual([
      ['llama', undefined, 2, 1],
      ['qwen', undefined, 1, 1],
      ['planner', 'llama', 2, 1],
      ['critic', 'llama', 1, 0],
    ]);
    expect(names.resolve('critic')).toMatchObject({ name: 'critic', base: 'llama', maxModelLen: 4096 });
    expect(names.resolve('ghost')).toBeUndefined();
  });

  it('a model answers to the other names of its servers and to aliases, which may stand for adapters too', () => {
    const { names } = namesOf(AGENTS, { plan: 'planner', 'gpt-4o': 'qwen' });
    expect(names.resolve('llama-3')).toMatchObject({ name: 'llama', aliases: ['llama-3'] });
    expect(names.resolve('plan')).toMatchObject({ name: 'planner', base: 'llama', aliases: ['plan'] });
    expect(names.resolve('gpt-4o')?.name).toBe('qwen');
  });

  it('a model goes before an adapter of the same name, the first adapter before one on another model', () => {
    const { names } = namesOf({
      'n/a': { model: 'llama', adapters: ['qwen', 'planner'] },
      'n/b': { model: 'qwen', adapters: ['planner'] },
    });
    expect(names.resolve('qwen')).toMatchObject({ name: 'qwen', engines: 1 });
    expect(names.resolve('qwen')).not.toHaveProperty('base');
    expect(names.resolve('planner')).toMatchObject({ base: 'llama', engines: 1 });
  });

  it('names are told with what they lead to, each once', () => {
    const { names } = namesOf(
      {
        'n/a': { model: 'llama', otherNames: ['qwen', 'planner', 'llama-3'], adapters: ['fast', 'critic'] },
        'n/b': { model: 'qwen', adapters: ['planner'] },
      },
      { fast: 'qwen', check: 'critic' },
    );
    expect(names.all().map(({ name, aliases }) => [name, ...aliases])).toEqual([
      ['llama', 'llama-3'],
      ['qwen', 'fast'],
      ['critic', 'check'],
      ['planner'],
    ]);
    for (const { name, aliases } of names.all())
      for (const asked of [name, ...aliases]) expect(names.resolve(asked)?.name).toBe(name);
  });

  it('so does a model of one cluster before an adapter of another, and what has a name counts in all of them', () => {
    const cluster = (spec: Partial<EngineSpec>) => {
      const served = new ServedModels();
      served.update(makeView('n/e', {}, { maxModelLen: 4096, ...spec }));
      return served.all();
    };
    const names = new ServedNames(
      () => [
        cluster({ model: 'llama', adapters: ['qwen', 'planner'] }),
        cluster({ model: 'qwen', adapters: ['planner'] }),
        cluster({ model: 'llama', adapters: ['planner'] }),
      ],
      {},
    );
    expect(names.resolve('qwen')).toMatchObject({ name: 'qwen', engines: 1 });
    expect(names.resolve('qwen')).not.toHaveProperty('base');
    expect(names.resolve('planner')).toMatchObject({ base: 'llama', engines: 2 });
    expect(names.resolve('llama')).toMatchObject({ engines: 2 });
  });

  it('adapters come and go with what their server says', () => {
    const { names, tell } = namesOf({ 'n/a': { model: 'llama' } });
    expect(names.resolve('planner')).toBeUndefined();
    tell('n/a', { model: 'llama', adapters: ['planner'] });
    expect(names.resolve('planner')?.base).toBe('llama');
    tell('n/a', { model: 'llama', adapters: [] });
    expect(names.resolve('planner')).toBeUndefined();
  });

  it('several means several models, whatever adapters they have', () => {
    expect(namesOf({ 'n/a': { model: 'llama', adapters: ['planner', 'critic'] } }).names.several).toBe(false);
    expect(namesOf(AGENTS).names.several).toBe(true);
  });
});
