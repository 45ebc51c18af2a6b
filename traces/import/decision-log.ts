import { z } from 'zod';
import type { TraceRow } from '../schema.js';
import { parseRecord, readRecords, type TraceImporter } from './importer.js';
import { leftOutField } from './left-out.js';
import { fingerprint, UniqueNames } from './names.js';
import { rebaseRecordedTimes, roundMs } from './rows.js';

const count = z.number().min(0);

/** The part of a decision record (`src/bus/contract.ts`) that a trace can hold. */
const decision = z.object({
  stage: z.object({
    stageId: z.string().min(1),
    workflowId: z.string().min(1),
    tenant: z.string(),
    template: z.string(),
    role: z.string(),
    agent: z.string().optional(),
    model: z.string(),
    sloClass: z.string(),
    arrivalMs: z.number(),
    deadlineMs: z.number(),
    promptTokens: count,
    maxTokens: count,
    outputLimited: z.boolean().optional(),
    choices: z.number().min(1).optional(),
    features: z.object({
      toolsOffered: count,
      toolChoice: z.string(),
      responseFormat: z.enum(['text', 'json_object', 'json_schema']),
      lastMessageKind: z.enum(['system', 'user', 'assistant', 'tool', 'none']),
      lastMessageTokens: count.optional(),
      temperature: z.number().optional(),
    }),
  }),
  outcome: z
    .object({
      kind: z.string(),
      promptTokens: count.optional(),
      cachedTokens: count.optional(),
      outputTokens: count.optional(),
      finishReason: z.string().optional(),
      toolCalled: z.boolean().optional(),
      ttftMs: count.optional(),
      durationMs: count,
    })
    .optional(),
});

interface Call {
  readonly name: string;
  readonly stage: z.infer<typeof decision>['stage'];
  readonly outcome: NonNullable<z.infer<typeof decision>['outcome']>;
  readonly endMs: number;
}

/**
 * What Maestro itself has served, from the file of `observe.decisionLog`: the calls that ran to their end and told their length. A call waits for those of
 * its workflow that had ended when it came, and for the time since the last of them. Names that clients made up are kept where the format allows them.
 */
export const decisionLog: TraceImporter = {
  format: 'decision-log',
  summary: "Maestro's own decision log (observe.decisionLog): JSONL of what was served",
  async read(files, { limitWorkflows }) {
    const workflows = new Map<string, Call[]>();
    const names = new UniqueNames();
    let decisions = 0;
    let leftOut = 0;
    for (const file of files) {
      for await (const { record, line } of readRecords(file)) {
        const parsed = parseRecord(decision, record, file, line, 'no decision record: ');
        if (!parsed) continue;
        const { stage, outcome } = parsed;
        decisions += 1;
        if (outcome?.kind !== 'completed' || outcome.outputTokens === undefined || stage.maxTokens < 1) {
          leftOut += 1;
          continue;
        }
        const calls = workflows.get(stage.workflowId) ?? [];
        if (calls.length === 0) workflows.set(stage.workflowId, calls);
        calls.push({
          name: names.take(nameOf(stage.stageId)),
          stage,
          outcome,
          endMs: stage.arrivalMs + outcome.durationMs,
        });
      }
    }
    const runs = [...workflows.values()].map((calls) => calls.sort((a, b) => a.stage.arrivalMs - b.stage.arrivalMs));
    runs.sort((a, b) => a[0]!.stage.arrivalMs - b[0]!.stage.arrivalMs);
    const startMs = runs[0]?.[0]?.stage.arrivalMs ?? 0;
    const rows = runs.slice(0, limitWorkflows).flatMap((calls) => rowsOf(calls, startMs));
    return {
      header: {
        maestro_trace: 1,
        source: 'Maestro decision log',
        notes: [
          'Recorded: arrivals, token counts, tools, times. Of calls with several answers: the length of one, on average.',
          'Derived: edges (a call waits for those of its workflow that had ended when it came) and think times.',
        ],
        ...leftOutField([leftOut, decisions, 'calls, which failed, were cancelled or did not tell their length']),
      },
      rows: rebaseRecordedTimes(rows),
    };
  },
};

function rowsOf(calls: readonly Call[], startMs: number): TraceRow[] {
  const first = calls[0]!.stage;
  return calls.map(({ name, stage, outcome }, index): TraceRow => {
    const ended = calls.slice(0, index).filter(({ endMs }) => endMs <= stage.arrivalMs);
    // What had ended when another of them came is waited for by that one.
    const lastCameMs = ended.at(-1)?.stage.arrivalMs ?? 0;
    const before = ended.filter((call) => call.endMs > lastCameMs || call === ended.at(-1));
    const lastEndMs = Math.max(...before.map(({ endMs }) => endMs));
    const { features } = stage;
    return {
      request_id: name,
      workflow_id: nameOf(stage.workflowId),
      ...(before.length === 0
        ? { timestamp: roundMs(stage.arrivalMs - startMs) }
        : {
            wait_for: before.map((call) => call.name),
            delay: roundMs(stage.arrivalMs - lastEndMs),
          }),
      input_length: Math.round(outcome.promptTokens ?? stage.promptTokens),
      output_length: Math.ceil(outcome.outputTokens! / (stage.choices ?? 1)),
      tenant: nameOf(stage.tenant),
      template: nameOf(stage.template),
      role: nameOf(stage.role),
      ...(stage.agent === undefined ? {} : { agent: nameOf(stage.agent) }),
      model: nameOf(stage.model),
      class: nameOf(stage.sloClass),
      deadline_ms: Math.max(1, roundMs(first.deadlineMs - first.arrivalMs)),
      tools_offered: Math.round(features.toolsOffered),
      last_message_kind: features.lastMessageKind,
      ...(features.lastMessageTokens === undefined
        ? {}
        : { last_message_tokens: Math.round(features.lastMessageTokens) }),
      ...(features.temperature === undefined ? {} : { temperature: Math.min(10, Math.max(0, features.temperature)) }),
      response_format: features.responseFormat,
      ...(stage.outputLimited === true && stage.maxTokens >= 1 ? { max_tokens: Math.floor(stage.maxTokens) } : {}),
      ...(outcome.cachedTokens === undefined ? {} : { cached_tokens: Math.round(outcome.cachedTokens) }),
      ...(outcome.finishReason === undefined ? {} : { finish_reason: outcome.finishReason.slice(0, 64) }),
      // Only what the model chose by itself teaches whether it chooses a tool.
      ...(outcome.toolCalled === undefined || features.toolChoice !== 'auto'
        ? {}
        : { tool_called: outcome.toolCalled }),
      recorded_at_ms: Math.max(0, stage.arrivalMs),
      ...(outcome.ttftMs === undefined ? {} : { recorded_ttft_ms: roundMs(outcome.ttftMs) }),
      recorded_latency_ms: roundMs(outcome.durationMs),
      derived: ['wait_for:rule', 'delay:rule'],
    };
  });
}

/** A name as it is, where a trace may hold it; else its fingerprint. */
function nameOf(name: string): string {
  return /^[\w.:@/+~-]{1,200}$/.test(name) ? name : fingerprint(name);
}
