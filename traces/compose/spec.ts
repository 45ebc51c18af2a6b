import { z } from 'zod';

const positive = z.number().positive();

/** Weights, of which something is drawn: of nothing, nothing can be. */
const choice = <T extends z.ZodType>(value: T) =>
  z
    .record(z.string(), value)
    .refine((weights) => Object.keys(weights).length > 0, { error: 'is empty; name at least one' });

/** Workflows to take from one trace. */
const partSchema = z.strictObject({
  /** Path of a canonical trace, from the folder of the spec. */
  trace: z.string(),
  /** How many workflows; drawn without replacement. */
  take: z.int().min(1),
  templates: z.array(z.string()).optional(),
  /** `user-message`: every user message of a session starts a workflow of its own. */
  splitAt: z.literal('user-message').optional(),
  /** Cuts a workflow where a prompt grows beyond this; what waits for a cut row is cut too. */
  cutAboveInputTokens: z.int().min(1).optional(),
  /** Keeps only workflows whose prompts all fit. */
  maxInputTokens: z.int().min(1).optional(),
  minStages: z.int().min(1).default(1),
  maxStages: z.int().min(1).optional(),
});

/** Which models calls go to: the first entry that matches decides. */
const modelRuleSchema = z.strictObject({
  template: z.string().optional(),
  role: z.string().optional(),
  /** Weight of each model. A role (of an agent) keeps its model for the whole workflow. */
  choose: choice(positive),
});

const classSchema = z.strictObject({
  /** Weight among the classes. */
  share: positive,
  /** After the arrival of the workflow. */
  deadlineMs: positive,
  /** Other deadlines for some templates. */
  deadlineMsByTemplate: z.record(z.string(), positive).default({}),
});

/** How to build a workload out of traces; read from YAML. */
export const composeSpecSchema = z.strictObject({
  seed: z.int().default(1),
  title: z.string().default('composed workload'),
  workflows: z.array(partSchema).min(1),
  /** Arrival gaps, in the order of the trace; only their mean is rescaled. */
  arrivals: z.strictObject({
    trace: z.string(),
    template: z.string().optional(),
    /** Rows to pass over first. */
    skip: z.int().min(0).default(0),
    meanGapMs: positive,
  }),
  models: z.array(modelRuleSchema).min(1),
  classes: choice(classSchema),
  tenants: choice(positive).optional(),
  /** Longest think or tool time that is kept. */
  maxWaitMs: z.number().min(0).optional(),
  /** `max_tokens` of every call; doubled until the recorded answer fits. */
  maxTokens: z.int().min(1).optional(),
});

export type ComposeSpec = z.infer<typeof composeSpecSchema>;
export type ComposePart = z.infer<typeof partSchema>;
