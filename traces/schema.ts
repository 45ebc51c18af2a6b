import { z } from 'zod';
import { MAX_TEXT_GRAMS, TEXT_GRAMS } from '../src/model/text-grams.js';
import { TEXT_VECTOR_SIZE } from '../src/model/text-vector.js';

/** Version of the canonical trace format, the value of `maestro_trace` in a header row. */
const TRACE_VERSION = 1;

const id = z
  .string()
  .min(1)
  .max(200)
  .regex(/^[\w.:@/+~-]+$/, 'letters, digits and . _ : @ / + ~ - only');
/** A count of tokens; more than any model has ever read. */
export const tokens = z.int().min(0).max(100_000_000);
/** Times and waits: to 32 years. */
export const milliseconds = z.number().min(0).max(1e12);
const hashId = z.int().min(0);

/** Kinds of the last message before a call; the same words as the stage features of the scheduler. */
const messageKind = z.enum(['system', 'user', 'assistant', 'tool', 'none']);

/**
 * One stage (LLM call). A superset of Dynamo's Agentic Mooncake rows, which is a superset of Mooncake rows.
 *
 * A row starts when every row of `wait_for` has completed, plus `delay` + `tool_wait_ms`. A row without `wait_for` is a root and
 * starts at `timestamp`. Traces of sources that record no arrivals have no timestamps at all; they must be composed with arrivals
 * before they can be replayed. Workflow-level fields may stand on every row or on the workflow's first row only.
 */
export const traceRowSchema = z.strictObject({
  request_id: id.describe('Name of the row, unique in the file.'),
  workflow_id: id.optional().describe('The agent run. Absent: session_id, else request_id.'),
  session_id: id.optional().describe('One growing conversation; rows of a session share their leading text.'),
  timestamp: milliseconds.optional().describe('Arrival of a root row in ms since the start of the trace.'),
  wait_for: z.array(id).optional().describe('Rows that must complete before this one may start.'),
  delay: milliseconds.optional().describe('Think time in ms after the last predecessor.'),
  tool_wait_ms: milliseconds.optional().describe('Time that tools take, in ms, after the last predecessor.'),
  branches: z.array(id).optional().describe('Rows that this one spawned (information only).'),
  prefix_reset: z.boolean().optional().describe('The prompt starts a new prefix in its session.'),
  tool_events: z.array(z.record(z.string(), z.unknown())).optional().describe('Tool spans, passed through.'),
  input_length: tokens.describe('Prompt tokens.'),
  output_length: tokens.describe('Output tokens.'),
  hash_ids: z
    .array(hashId)
    .optional()
    .describe('Prompt prefix blocks, oldest first; equal leading ids share their KV.'),
  hash_runs: z
    .array(z.tuple([hashId, z.int().min(1)]))
    .optional()
    .describe('The same as hash_ids in short: runs of [first id, count] of consecutive ids.'),
  block_tokens: z.int().min(1).optional().describe('Tokens of a prefix block. Absent: 512, as in Mooncake.'),

  tenant: id.optional().describe('Who pays.'),
  template: id.optional().describe('Kind of workflow (application).'),
  role: id.optional().describe('Role of the agent that makes the call.'),
  agent: id.optional().describe('Which agent of that role.'),
  model: id.optional().describe('Model that the call names.'),
  task: id
    .optional()
    .describe('What the workflow was asked to do. Runs of one task may share it; train and judge on different tasks.'),
  class: id.optional().describe('SLO class of the workflow.'),
  deadline_ms: z.number().positive().max(1e12).optional().describe('Deadline in ms after the arrival of the workflow.'),

  tools_offered: z.int().min(0).optional(),
  tool_called: z.boolean().optional(),
  finish_reason: z.string().max(64).optional(),
  last_message_kind: messageKind.optional(),
  last_message_tokens: tokens.optional(),
  text_grams: z
    .array(
      z
        .int()
        .min(0)
        .max(TEXT_GRAMS - 1),
    )
    .max(MAX_TEXT_GRAMS)
    .optional()
    .describe('Hashed words of the last message and their pairs; as confidential as the text itself.'),
  text_vector: z
    .strictObject({
      embedder: z.string().max(64),
      values: z.array(z.number().min(-10).max(10)).length(TEXT_VECTOR_SIZE),
    })
    .optional()
    .describe('What a sentence embedder says of the last message; as confidential as the text itself.'),
  last_tool: id.optional().describe('The tool whose result is the last message before the call.'),
  cached_tokens: tokens.optional().describe('Prompt tokens that the recorded server had in its prefix cache.'),
  max_tokens: z.int().min(1).optional(),
  temperature: z.number().min(0).max(10).optional(),
  response_format: z.enum(['text', 'json_object', 'json_schema']).optional(),
  recorded_at_ms: milliseconds
    .optional()
    .describe(
      'Time that the source gives for the call, often its end, in ms since the first of the trace. Not a schedule.',
    ),
  recorded_ttft_ms: milliseconds.optional().describe('Measured time to the first token. Known only after the call.'),
  recorded_latency_ms: milliseconds.optional().describe('Measured time of the whole call. Known only after the call.'),
  parents: z.array(id).optional().describe('Rows whose output is part of this prompt.'),
  derived: z
    .array(
      z
        .string()
        .regex(
          /^[a-z_]+:(rule|count:[\w.-]+|sample:[\w.-]+)$/,
          'field:rule, field:count:VOCABULARY or field:sample:FROM',
        ),
    )
    .optional()
    .describe(
      'Fields that are not recorded. `field:rule`: by a rule of the importer; `field:count:VOCABULARY`: recorded text, counted with that vocabulary; `field:sample:FROM`: drawn from recorded values of FROM.',
    ),
});

/** An optional first row that says where the trace comes from. */
export const traceHeaderSchema = z.strictObject({
  maestro_trace: z.literal(TRACE_VERSION),
  source: z.string().describe('Origin: repository, commit, files.'),
  licence: z.string().optional().describe('Licence of the data.'),
  notes: z.array(z.string()).optional().describe('What is recorded, derived and sampled.'),
  left_out: z
    .array(z.string())
    .optional()
    .describe('Sound records of the source that make no call: how many of which, and why.'),
});

export type TraceRow = z.infer<typeof traceRowSchema>;
export type TraceHeader = z.infer<typeof traceHeaderSchema>;

/** A whole trace in memory. */
export interface Trace {
  readonly header?: TraceHeader;
  readonly rows: readonly TraceRow[];
}

/** JSON Schema of one line of a trace file: a header (first line only) or a stage. */
export function traceJsonSchema(): object {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Maestro trace, one line of JSONL',
    anyOf: [strip(z.toJSONSchema(traceHeaderSchema)), strip(z.toJSONSchema(traceRowSchema))],
  };
}

function strip(schema: object): object {
  const { $schema: _, ...rest } = schema as { $schema?: string };
  return rest;
}
