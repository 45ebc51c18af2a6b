import { z } from 'zod';
import type { TraceRow } from '../schema.js';
import { toRuns } from '../workflow.js';
import { parseRecord, readRecords, type TraceImporter } from './importer.js';

const call = z.object({
  t: z.number(),
  type: z.enum(['n', 's']),
  model: z.string(),
  in: z.int().min(0),
  out: z.int().min(0),
  hash_ids: z.array(z.int().min(0)),
  input_types: z.array(z.string()).default([]),
  output_types: z.array(z.string()).default([]),
  stop: z.string().nullish(),
  api_time: z.number().nullish(),
  think_time: z.number().nullish(),
});
const subAgent = z.object({
  t: z.number(),
  type: z.literal('subagent'),
  agent_id: z.string(),
  subagent_type: z.string(),
  duration_ms: z.number().nullish(),
  requests: z.array(call),
});
const session = z.object({
  id: z.string(),
  block_size: z.int().min(1),
  requests: z.array(z.discriminatedUnion('type', [call, subAgent])),
});

type Call = z.infer<typeof call>;
type SubAgent = z.infer<typeof subAgent>;
type Session = z.infer<typeof session>;

/**
 * Sessions of a coding agent with spawned sub-agents (kv-cache-tester, also known as the WEKA trace). A thread of calls is a chain; a
 * sub-agent starts from the call before it; the next call of the main thread waits for all sub-agents spawned before it, which is the
 * rule of the upstream replayer. Gaps after tool results are tool time, gaps after user messages think time.
 */
export const kvCacheTester: TraceImporter = {
  format: 'kv-cache-tester',
  summary: 'kv-cache-tester sessions: JSON of coding-agent calls with sub-agents, gaps and 64-token prefix blocks',
  async read(files, { limitWorkflows }) {
    const rows: TraceRow[] = [];
    const seenGroups = new Set<string>();
    // Block ids are local to a session, so each session gets a range of its own.
    let blockOffset = 0;
    let taken = 0;
    for (const file of files) {
      let number = 0;
      for await (const { record, wrapper } of readRecords(file)) {
        number += 1;
        if (taken === limitWorkflows) break;
        const group = wrapper._near_dup_group;
        if (typeof group === 'string') {
          // The same session was captured up to 19 times.
          if (seenGroups.has(group)) continue;
          seenGroups.add(group);
        }
        const sessionRows = new SessionRows(parseRecord(session, record, file, number), blockOffset);
        rows.push(...sessionRows.build());
        blockOffset = sessionRows.nextBlockId;
        taken += 1;
      }
    }
    return {
      header: {
        maestro_trace: 1,
        source: 'callanjfox/kv-cache-tester, traces/*.json',
        licence: 'Apache-2.0',
        notes: [
          'Recorded: order inside a thread, gaps, prompt and output tokens, 64-token prefix blocks, sub-agent type, model, stop reason.',
          'Derived: edges (a sub-agent starts after the call before it; the next main call waits for all sub-agents before it).',
          'Not in the source: arrival times of sessions; tokens are those of the hosted model.',
        ],
      },
      rows,
    };
  },
};

/** A call that was made, with its end on the session's clock in seconds. */
interface Made {
  readonly rowId: string;
  readonly endS: number;
}

class SessionRows {
  nextBlockId: number;
  private readonly rows: TraceRow[] = [];

  constructor(
    private readonly session: Session,
    private readonly blockOffset: number,
  ) {
    this.nextBlockId = blockOffset;
  }

  build(): readonly TraceRow[] {
    let before: Made[] = [];
    let index = 0;
    for (const request of this.session.requests) {
      if (request.type === 'subagent') {
        const last = this.addSubAgent(request, before[0]);
        if (last) before = [...before, last];
      } else {
        index += 1;
        const rowId = `${this.session.id}/${index}`;
        before = [this.add(rowId, request, request.t, before, { role: 'main' }, before.length > 1)];
      }
    }
    return this.rows;
  }

  private addSubAgent(spawned: SubAgent, parent: Made | undefined): Made | undefined {
    let before = parent ? [parent] : [];
    for (const [index, request] of spawned.requests.entries()) {
      const rowId = `${this.session.id}/${spawned.agent_id}/${index + 1}`;
      const role = spawned.subagent_type.toLowerCase();
      // Times inside a sub-agent count from its own start.
      const startS = spawned.t + request.t;
      before = [this.add(rowId, request, startS, before, { role, agent: spawned.agent_id }, index === 0)];
    }
    const last = before[0];
    if (!last || spawned.requests.length === 0) return undefined;
    const ended = spawned.duration_ms == null ? last.endS : spawned.t + spawned.duration_ms / 1000;
    return { rowId: last.rowId, endS: Math.max(last.endS, ended) };
  }

  /** `gapFromTimes`: the recorded gap would contain other agents' work, so the gap is what is left after the last of them. */
  private add(
    rowId: string,
    request: Call,
    startS: number,
    before: readonly Made[],
    who: { readonly role: string; readonly agent?: string },
    gapFromTimes: boolean,
  ): Made {
    const afterTool = request.input_types.includes('tool_result');
    const measured = Math.max(0, startS - Math.max(...before.map(({ endS }) => endS)));
    const gapS = gapFromTimes ? measured : (request.think_time ?? measured);
    const gapMs = before.length === 0 ? 0 : Math.round(gapS * 1000);
    for (const id of request.hash_ids) this.nextBlockId = Math.max(this.nextBlockId, this.blockOffset + id + 1);
    const toolCalled = request.stop === 'tool_use' || request.output_types.includes('tool_use');
    this.rows.push({
      request_id: rowId,
      workflow_id: this.session.id,
      session_id: who.agent === undefined ? this.session.id : `${this.session.id}/${who.agent}`,
      ...(before.length > 0 && { wait_for: before.map((made) => made.rowId) }),
      ...(gapMs > 0 && (afterTool ? { tool_wait_ms: gapMs } : { delay: gapMs })),
      input_length: request.in,
      output_length: request.out,
      hash_runs: toRuns(request.hash_ids.map((id) => this.blockOffset + id)),
      block_tokens: this.session.block_size,
      template: 'claude-code',
      ...who,
      model: request.model,
      tool_called: toolCalled,
      ...(request.stop != null && { finish_reason: request.stop }),
      last_message_kind: afterTool ? 'tool' : 'user',
      ...(before.length > 1 && { derived: ['wait_for:rule'] }),
    });
    return { rowId, endS: startS + (request.api_time ?? 0) };
  }
}
