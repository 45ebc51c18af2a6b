import { z } from 'zod';
import { milliseconds, type TraceRow, tokens } from '../schema.js';
import { toRuns } from '../workflow.js';
import { parseRecord, readRecords, type TraceImporter } from './importer.js';
import { leftOutField } from './left-out.js';
import { plainName, UniqueNames } from './names.js';

/** As long as the trace format has a wait. */
const seconds = z.number().min(-1e9).max(1e9);
/** So that ids of many sessions, one range after the other, stay exact. */
const blockId = z.int().min(0).max(1e9);

const call = z.object({
  t: seconds,
  type: z.enum(['n', 's']),
  model: z.string(),
  in: tokens,
  out: tokens,
  hash_ids: z.array(blockId),
  input_types: z.array(z.string()).nullish(),
  output_types: z.array(z.string()).nullish(),
  stop: z.string().max(64).nullish(),
  api_time: seconds.nullish(),
  think_time: seconds.nullish(),
});
const subAgent = z.object({
  t: seconds,
  type: z.literal('subagent'),
  agent_id: z.string(),
  subagent_type: z.string(),
  duration_ms: milliseconds.nullish(),
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
    const names = new UniqueNames();
    // Block ids are local to a session, so each session gets a range of its own.
    let blockOffset = 0;
    let taken = 0;
    let again = 0;
    let empty = 0;
    for (const file of files) {
      for await (const { record, line, wrapper } of readRecords(file)) {
        if (taken === limitWorkflows) break;
        const group = wrapper._near_dup_group;
        // The same session was captured up to 19 times.
        if (typeof group === 'string' && seenGroups.has(group)) {
          again += 1;
          continue;
        }
        const parsed = parseRecord(session, record, file, line);
        if (!parsed) continue;
        if (typeof group === 'string') seenGroups.add(group);
        const sessionRows = new SessionRows(parsed, names.take(plainName(parsed.id)), blockOffset);
        const built = sessionRows.build();
        if (built.length === 0) empty += 1;
        for (const row of built) rows.push(row);
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
        ...leftOutField(
          [again, again + taken, 'sessions, of which another capture was taken'],
          [empty, taken, 'sessions, which hold no call'],
        ),
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
    private readonly name: string,
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
        const rowId = `${this.name}/${index}`;
        before = [this.add(rowId, request, request.t, before, { role: 'main' }, before.length > 1)];
      }
    }
    return this.rows;
  }

  private addSubAgent(spawned: SubAgent, parent: Made | undefined): Made | undefined {
    let before = parent ? [parent] : [];
    const [agent, role] = [plainName(spawned.agent_id), plainName(spawned.subagent_type.toLowerCase())];
    for (const [index, request] of spawned.requests.entries()) {
      const rowId = `${this.name}/${agent}/${index + 1}`;
      // Times inside a sub-agent count from its own start.
      const startS = spawned.t + request.t;
      before = [this.add(rowId, request, startS, before, { role, agent }, index === 0)];
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
    const afterTool = request.input_types?.includes('tool_result') === true;
    const measured = Math.max(0, startS - Math.max(...before.map(({ endS }) => endS)));
    const gapS = gapFromTimes ? measured : (request.think_time ?? measured);
    const gapMs = before.length === 0 ? 0 : Math.round(gapS * 1000);
    for (const id of request.hash_ids) this.nextBlockId = Math.max(this.nextBlockId, this.blockOffset + id + 1);
    const toolCalled = request.stop === 'tool_use' || request.output_types?.includes('tool_use') === true;
    this.rows.push({
      request_id: rowId,
      workflow_id: this.name,
      session_id: who.agent === undefined ? this.name : `${this.name}/${who.agent}`,
      ...(before.length > 0 && { wait_for: before.map((made) => made.rowId) }),
      ...(gapMs > 0 && (afterTool ? { tool_wait_ms: gapMs } : { delay: gapMs })),
      input_length: request.in,
      output_length: request.out,
      hash_runs: toRuns(request.hash_ids.map((id) => this.blockOffset + id)),
      block_tokens: this.session.block_size,
      template: 'claude-code',
      ...who,
      model: plainName(request.model),
      tool_called: toolCalled,
      ...(request.stop != null && { finish_reason: request.stop }),
      last_message_kind: afterTool ? 'tool' : 'user',
      ...(before.length > 1 && { derived: ['wait_for:rule'] }),
    });
    return { rowId, endS: startS + (request.api_time ?? 0) };
  }
}
