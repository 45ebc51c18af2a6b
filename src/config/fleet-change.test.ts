import { describe, expect, it } from 'vitest';
import { type FleetNode, fleetNodes, type MemberPhase, planFleetChange, type ServingNode } from './fleet-change.js';
import { parseConfig } from './load.js';

/** Nodes as a file has them: of each engine its id, and what is written of it besides. */
function nodes(engines: Readonly<Record<string, Readonly<Record<string, object>>>>, more: object = {}): FleetNode[] {
  const fleet = {
    nodes: Object.entries(engines).map(([id, members]) => ({
      ...{ id, gpus: ['h100-sxm'], hostMemory: '64GiB' },
      engines: Object.entries(members).map(([engineId, written]) => ({
        ...{
          id: engineId,
          model: 'llama-3.1-8b',
          gpus: [0],
          kvMemory: '8GiB',
          url: `http://127.0.0.1:${engineId.charCodeAt(0)}`,
        },
        ...written,
      })),
      ...more,
    })),
  };
  const environment = { KEY_A: 'a-key', KEY_B: 'b-key' };
  return fleetNodes(parseConfig(JSON.stringify({ fleet }), 'f.yaml', environment), new Map());
}

/** The same, as it serves. */
function serving(wanted: readonly FleetNode[], phases: Readonly<Record<string, MemberPhase>> = {}): ServingNode[] {
  return wanted.map((node) => ({
    node,
    engines: node.members.map((member) => ({ member, phase: phases[member.spec.engineId] ?? 'serves' })),
  }));
}

/** A plan in short. */
function brief(now: readonly ServingNode[], wanted: readonly FleetNode[]): string[] {
  const plan = planFleetChange(now, wanted);
  return [
    ...plan.leave.map(({ member, leaving }) => `${leaving ?? 'stay'} ${member.spec.engineId}`),
    ...plan.leaveNodes.map((id) => `close ${id}`),
    ...plan.joinNodes.map(({ spec }) => `open ${spec.nodeId}`),
    ...plan.join.map(({ spec }) => `join ${spec.engineId} on ${spec.nodeId}`),
    ...plan.later.map(({ spec }) => `later ${spec.engineId}`),
    ...plan.inTurn.map((id) => `in turn ${id}`),
    ...plan.waiting.map((name) => `restart ${name}`),
  ];
}

const ONE = nodes({ n: { a: {} } });
const SLOW = { maxNumSeqs: 4 };

describe('the steps from one fleet to another', () => {
  it.each<[string, ServingNode[], FleetNode[], string[]]>([
    ['nothing has changed', serving(ONE), ONE, []],
    ['an engine joins', serving(ONE), nodes({ n: { a: {}, b: {} } }), ['join b on n']],
    ['a node joins', serving(ONE), nodes({ n: { a: {} }, m: { b: {} } }), ['open m', 'join b on m']],
    ['an engine leaves', serving(nodes({ n: { a: {}, b: {} } })), ONE, ['for-good b']],
    ['a node leaves', serving(nodes({ n: { a: {} }, m: { b: {} } })), ONE, ['for-good b']],
    ['and is closed when it is empty', serving(nodes({ n: { a: {} }, m: {} })), ONE, ['close m']],
    ['one that leaves goes on to', serving(nodes({ n: { a: {}, b: {} } }), { b: 'for-good' }), ONE, []],
    ['or stays after all', serving(ONE, { a: 'for-good' }), ONE, ['stay a']],
    ['or comes back once it is gone', serving(ONE, { a: 'ends' }), ONE, ['later a']],
    ['its node is not closed meanwhile', serving(nodes({ n: { a: {} }, m: { b: {} } }), { b: 'ends' }), ONE, []],
    ['an engine changes', serving(ONE), nodes({ n: { a: SLOW } }), ['to-return a', 'later a']],
    ['and is on its way', serving(ONE, { a: 'to-return' }), nodes({ n: { a: SLOW } }), ['later a']],
    ['or is left out meanwhile', serving(ONE, { a: 'to-return' }), nodes({ n: {} }), ['for-good a']],
    [
      'or wanted, and different',
      serving(ONE, { a: 'for-good' }),
      nodes({ n: { a: SLOW } }),
      ['to-return a', 'later a'],
    ],
    [
      'another model is no reason for those who ask for the former one to wait',
      serving(ONE),
      nodes({ n: { a: { model: 'qwen2.5-7b' } } }),
      ['for-good a', 'later a'],
    ],
    [
      'it moves to another node',
      serving(nodes({ n: { a: {} }, m: {} })),
      nodes({ n: {}, m: { a: {} } }),
      ['for-good a', 'later a'],
    ],
    [
      'of several of a model that change, one at a time',
      serving(nodes({ n: { a: {}, b: {}, c: { model: 'qwen2.5-7b' } } })),
      nodes({ n: { a: SLOW, b: SLOW, c: { ...SLOW, model: 'qwen2.5-7b' } } }),
      ['to-return a', 'to-return c', 'later a', 'later c', 'in turn b'],
    ],
    [
      'the next when the one before answers',
      serving(nodes({ n: { a: SLOW, b: {} } }), { a: 'arrives' }),
      nodes({ n: { a: SLOW, b: SLOW } }),
      ['in turn b'],
    ],
    [
      'one that never came may be corrected',
      serving(nodes({ n: { a: SLOW, b: {} } }), { a: 'arrives' }),
      nodes({ n: { a: {}, b: {} } }),
      ['to-return a', 'later a'],
    ],
    [
      'an API key is no other engine, where others start it',
      serving(nodes({ n: { a: { apiKeyEnv: 'KEY_A' } } })),
      nodes({ n: { a: { apiKeyEnv: 'KEY_B' } } }),
      [],
    ],
    [
      'and is where this process does',
      serving(nodes({ n: { a: { apiKeyEnv: 'KEY_A', launch: { weights: 'w' } } } })),
      nodes({ n: { a: { apiKeyEnv: 'KEY_B', launch: { weights: 'w' } } } }),
      ['to-return a', 'later a'],
    ],
    [
      'one that this process has started is ended',
      serving(nodes({ n: { a: { launch: { weights: 'w' } }, b: {} } })),
      nodes({ n: { b: {} } }),
      ['to-end a'],
    ],
    ['or stays all the same', serving(ONE, { a: 'to-end' }), ONE, ['stay a']],
    ['other hardware', serving(ONE), nodes({ n: { a: {} } }, { gpus: ['h200-sxm'] }), ['restart fleet.nodes[n].gpus']],
    [
      'other hardware of a node that is empty',
      serving(nodes({ n: {} })),
      nodes({ n: { a: {} } }, { gpus: ['h200-sxm'], telemetry: 'nvidia-smi' }),
      ['close n'],
    ],
    [
      'an emulated engine joins',
      serving(ONE),
      nodes({ n: { a: {}, b: { url: undefined } } }),
      ['restart fleet.nodes[n].engines'],
    ],
    [
      'a node of emulated engines joins',
      serving([]),
      nodes({ n: { a: { url: undefined } } }),
      ['restart fleet.nodes[n]'],
    ],
    ['or leaves', serving(nodes({ n: { a: { url: undefined } } })), [], ['restart fleet.nodes[n]']],
    ['or stays', serving(nodes({ n: { a: { url: undefined } } })), nodes({ n: { a: { url: undefined } } }), []],
  ])('%s', (_, now, wanted, steps) => {
    expect(brief(now, wanted)).toEqual(steps);
  });
});
