import { expect, it } from 'vitest';
import { completed, FIRST_CONTEXT, makeStage } from '../../../test/stage-fixture.js';
import type { StageContext } from '../../model/stage.js';
import type { CallExample, CallHistory } from '../examples.js';
import { LOOKUPS, type LookupName, staticMedians } from './medians.js';

type Past = NonNullable<StageContext['past']>;

function call(tokens: number | undefined, stage: Parameters<typeof makeStage>[0], past: Partial<Past> = {}) {
  return {
    stage: makeStage({ template: 't', role: 'writer', agent: 'ann', model: 'm', ...stage }),
    context: { ...FIRST_CONTEXT, past: { generation: 0, ...past } },
    outcome: completed(tokens as number),
    task: 'x',
  } as unknown as CallExample;
}
const times = (count: number, one: CallExample) => Array.from({ length: count }, () => one);

const medians = staticMedians({
  calls: [
    ...times(5, call(100, {})),
    ...times(6, call(300, {}, { generation: 1 })),
    ...times(6, call(500, { agent: 'bob', features: { lastMessageKind: 'tool' } })),
    // Too few for a median of their own.
    ...times(4, call(900, { agent: 'cid' })),
    ...times(30, call(20, { role: 'critic', agent: 'dee' })),
    // What was cut short teaches no length.
    ...times(9, { ...call(7, { role: 'cut' }), outcome: { ...completed(7), kind: 'client_cancelled' } } as CallExample),
  ],
  events: [],
} as CallHistory);

const said = (one: CallExample) =>
  Object.fromEntries(Object.entries(LOOKUPS).map(([name, lookup]) => [name, lookup(medians, one)])) as Record<
    LookupName,
    number
  >;

it('looks up what was usual of calls like it, from the coarsest to the finest', () => {
  expect(said(call(0, {}))).toMatchObject({
    globalMedian: 20,
    // Of 21 writers; of Ann's eleven; of those in the first layer.
    roleMedian: 300,
    agentMedian: 300,
    agentLayerMedian: 100,
  });
  expect(said(call(0, { agent: 'bob' }))).toMatchObject({ agentMedian: 500, agentLayerMedian: 500 });
  // Bob was only seen after tools.
  expect(said(call(0, { agent: 'bob', features: { lastMessageKind: 'tool' } })).agentMessageMedian).toBe(500);
});

it('goes back to what is coarser where calls were few or none, and at last to all', () => {
  const few = said(call(0, { agent: 'cid' }));
  expect([few.agentMedian, few.agentLayerMedian, few.agentMessageMedian]).toEqual([300, 300, 300]);
  for (const role of ['nobody', 'cut']) {
    for (const [name, tokens] of Object.entries(said(call(0, { role })))) expect(tokens, name).toBe(20);
  }
});

it('looks up the last output of the agent, or of its role, in the workflow', () => {
  const trail = (lastTokens: number) => ({ ofAgent: { lastTokens }, ofRole: { lastTokens: 2 * lastTokens } }) as never;
  expect(said(call(0, {}, trail(44)))).toMatchObject({ lastOfAgent: 44, lastOfRole: 88, agentMedian: 300 });
  expect(said(call(0, {}))).toMatchObject({ lastOfAgent: 300, lastOfRole: 300 });
});
