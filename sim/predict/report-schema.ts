import { z } from 'zod';
import { LOOKUPS, type LookupName } from '../../src/predict/training/medians.js';

const share = z.number().min(0).max(1);
const count = z.int().min(0);
const tokens = z.number().min(0);
const baseline = z.strictObject({ mae: tokens.describe('Mean absolute error in tokens.') });

const lookups = Object.fromEntries(Object.keys(LOOKUPS).map((name) => [name, baseline])) as Record<
  LookupName,
  typeof baseline
>;

const role = z.strictObject({
  ...{ template: z.string(), model: z.string(), role: z.string() },
  ...{ calls: count, overflow: share },
});

const perCall = {
  reservedShare: z.number().describe('Tokens reserved for outputs, as a share of 4096 a call.'),
  reservedOverTrue: z.number(),
  overflow: share.describe('Windows (of one call, or of so many in time order) that needed more than was reserved.'),
  withPromptShare: z.number().describe('Prompt and reservation, as a share of prompt and 4096.'),
  savedOfForesight: z
    .number()
    .describe('What is saved against 4096 a call, as a share of what perfect foresight saves.'),
};
const windows = z.array(z.strictObject({ concurrentCalls: count, windows: count, ...perCall }));

const figures = {
  calls: count,
  length: z.strictObject({
    calls: count.describe('Calls with a known length.'),
    mae: tokens.describe('Mean absolute error of the median, in tokens.'),
    pinball: z.strictObject({ q30: tokens, q50: tokens, q95: tokens }),
    rSquared: z.number().describe('Of log(1 + tokens).'),
    kendallTau: z.number().optional(),
  }),
  baselines: z
    .strictObject({
      ...lookups,
      modelAgentPhaseMedian: baseline,
      bestLookup: z.strictObject({ mae: tokens, name: z.string() }),
      ewma: baseline,
    })
    .describe('What lookups would have said: medians of the training, and the last output of the agent or role.'),
  tool: z.strictObject({ calls: count, share, auc: share.optional(), brier: share }),
  coverage: z.strictObject({
    overflow: share.describe('Calls that outgrew their bound.'),
    overflowAfter1000: share.optional(),
    worstRole: role.optional().describe('Of those with at least 100 calls.'),
    worstLargeRole: role.optional().describe('Of those with at least 500 calls.'),
  }),
  reservation: z.strictObject({
    perCall: z.strictObject(perCall),
    summed: windows.describe('Each call by its own bound.'),
    pooled: windows.describe('One bound for all concurrent calls.'),
    pooledCut: windows.describe('The same, of answers cut at 4096 tokens, as a server with that limit cuts them.'),
  }),
  remaining: z.strictObject({
    workflows: count,
    pairAccuracy: share
      .optional()
      .describe('Pairs of workflows, each at one moment, ranked right by what is left of them.'),
    maeMs: z.number(),
  }),
  nextRole: z.strictObject({ calls: count, top1: share, top2: share }),
  sources: z.record(z.string(), count).describe('Calls by the estimator that answered.'),
};

/** What `maestro predict --json` prints. */
export const predictReportSchema = z
  .strictObject({
    maestro_predict_report: z.literal(1),
    model: z.strictObject({ path: z.string(), version: z.string().optional() }),
    traces: z.array(z.string()),
    ...figures,
    templates: z.record(z.string(), z.strictObject(figures)),
  })
  .describe(
    'Report of maestro predict: how good a predictor was on a trace. Lengths in output tokens; shares from 0 to 1.',
  );

/** The schema as a JSON Schema document; docs/schemas/predict-report.json is this. */
export function predictReportJsonSchema(): object {
  return z.toJSONSchema(predictReportSchema, { reused: 'ref' });
}
