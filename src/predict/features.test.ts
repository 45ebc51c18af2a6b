import { describe, expect, it } from 'vitest';
import { FIRST_CONTEXT, makeStage } from '../../test/stage-fixture.js';
import type { Stage, StageContext, WorkflowPast } from '../model/stage.js';
import { FEATURE_NAMES, FEATURE_SCHEMA_HASH, FEATURES, fillFeatures, type OnlineFeatures } from './features.js';
import type { RunningFeatures } from './running-statistics.js';

const SEEN: RunningFeatures = {
  q50: 5,
  q95: 7,
  roleQ50: 5.25,
  roleQ95: 7.25,
  modelQ50: 5.5,
  phaseQ50: 4.75,
  promptQ50: 4.5,
  toolQ50: 4.25,
  textOverSeen: -0.3,
  toolRate: 0.4,
};
const ONLINE: OnlineFeatures = {
  work: { attainedMs: 5000, medianMs: 800 },
  lookup: { q30: 50, q50: 60, q95: 90, mean: 61, source: 'workflow', historyQ50: 70 },
};
const PAST: WorkflowPast = {
  ofAgent: { calls: 2, lastTokens: 10, beforeLastTokens: 20, meanTokens: 15, maxTokens: 20 },
  ofRole: { calls: 3, lastTokens: 30, beforeLastTokens: 10, meanTokens: 20, maxTokens: 30 },
  ofWorkflow: { calls: 4, lastTokens: 40, beforeLastTokens: 30, meanTokens: 25, maxTokens: 40 },
  ofParents: { calls: 1, lastTokens: 40, beforeLastTokens: undefined, meanTokens: 40, maxTokens: 40 },
  agentIndex: 2,
  generation: 4,
  lastPromptTokens: 1200,
  firstPromptTokens: 500,
  agentToolCalled: false,
  toolShare: 0.5,
  toolRun: 1,
  lastToolCalled: true,
  lastRole: 'plan',
  beforeLastRole: undefined,
};

function featuresOf(stage: Stage, context: StageContext, online = ONLINE): Record<string, number> {
  const values = new Float64Array(FEATURES.length + 1).fill(-99);
  fillFeatures(stage, context, SEEN, online, values, 1);
  expect(values[0]).toBe(-99);
  return Object.fromEntries(FEATURE_NAMES.map((name, index) => [name, values[index + 1]!]));
}

describe('the features', () => {
  it('are written in the order of their names, each from what it says', () => {
    const stage = makeStage({
      ...{ promptTokens: 1000, maxTokens: 512, outputLimited: true },
      features: {
        toolsOffered: 3,
        toolChoice: 'required',
        lastMessageKind: 'tool',
        lastMessageTokens: 7,
        temperature: 0.2,
      },
    });
    const features = featuresOf(stage, {
      ...FIRST_CONTEXT,
      stageIndex: 4,
      invocationIndex: 3,
      liveStages: 2,
      gapMs: 50,
      past: PAST,
    });
    expect(features).toMatchObject({
      ...{
        prompt: Math.log(1001),
        prompt_growth: -Math.log(201),
        last_message: Math.log(8),
        output_limit: Math.log(513),
      },
      ...{ last_message_kind: 3, tool_choice: 2, response_format: 0, tools_offered: Math.log(4), temperature: 0.2 },
      ...{ gap: Math.log(51), stage_index: 9, role_index: 8, agent_index: 6, generation: 9 },
      ...{
        agent_last: Math.log(11),
        agent_before_last: Math.log(21),
        role_max: Math.log(31),
        workflow_mean: Math.log(26),
      },
      ...{ parents_last: Math.log(41), parents_count: 1, tool_run: 1, tool_share: 0.5, last_tool_called: 1 },
      ...{
        seen_q50: 5,
        seen_q95: 7,
        seen_role_q50: 5.25,
        seen_role_q95: 7.25,
        seen_model_q50: 5.5,
        seen_tool_rate: 0.4,
      },
      ...{ fresh: -Math.log(211), prompt_over_first: Math.log(1001) - Math.log(501), agent_tool_called: 0 },
      ...{ agent_over_seen: Math.log(16) - 5, seen_phase_q50: 4.75, seen_prompt_q50: 4.5 },
      ...{ attained: Math.log(5001), seen_remaining: 6.75, seen_tool_q50: 4.25, live_stages: 2, text_over_seen: -0.3 },
      ...{ lookup_q50: Math.log(61), history_q50: Math.log(71) },
    });
    expect(Object.values(features).filter(Number.isNaN)).toEqual([]);
  });

  it('are missing where nothing is known', () => {
    const features = featuresOf(makeStage({ features: { lastMessageKind: 'none' } }), FIRST_CONTEXT);
    const missing = FEATURE_NAMES.filter((name) => Number.isNaN(features[name]));
    expect(missing).toEqual(
      expect.arrayContaining([
        'prompt_growth',
        'last_message',
        'output_limit',
        'last_message_kind',
        'gap',
        'agent_last',
      ]),
    );
    expect(missing).not.toContain('prompt');
    expect(missing).not.toContain('stage_index');
  });

  it('do not take the median of all calls for one of this call', () => {
    const lookup = { ...ONLINE.lookup, source: 'global' as const, historyQ50: undefined };
    const features = featuresOf(makeStage({}), FIRST_CONTEXT, { ...ONLINE, lookup });
    expect(features).toMatchObject({ lookup_q50: Number.NaN, history_q50: Number.NaN });
  });

  /** A new schema makes every trained model unusable, the shipped one too: train it again, then note the new hash here. */
  it('have a schema that does not change by accident', () => {
    expect(new Set(FEATURE_NAMES).size).toBe(FEATURE_NAMES.length);
    expect(FEATURE_SCHEMA_HASH).toMatchInlineSnapshot(`"a19646c8"`);
  });
});
