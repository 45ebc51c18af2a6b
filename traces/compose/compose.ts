import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import { MaestroError } from '../../src/model/error.js';
import { type Rng, SeededRng } from '../../src/model/rng.js';
import { blockIdEnd, shiftBlocks } from '../blocks.js';
import { limitAbove } from '../limit.js';
import { readTrace } from '../reader.js';
import type { Trace, TraceHeader, TraceRow } from '../schema.js';
import { isRoot, type TraceWorkflow } from '../workflow.js';
import { candidatesOf, Drawn, recordedTimes, shuffle } from './draw.js';
import { type Shrunk, shrinkToFit } from './shrink.js';
import { type ComposeSpec, composeSpecSchema } from './spec.js';

export interface ComposeOptions {
  /** Instead of the seed of the spec. */
  readonly seed?: number | undefined;
  /** Opens a trace that the spec names, by its full path. */
  readonly open?: (path: string) => Promise<Trace>;
  /** Where the traces hold less than the spec takes: all parts shrink alike, instead of an error. */
  readonly shrink?: boolean;
}

export interface Composed extends Trace {
  /** Where it is smaller than the spec says. */
  readonly shrunk?: Shrunk;
}

/** Builds the workload of a spec file. Equal spec, traces and seed give an equal trace. */
export async function composeFile(
  specPath: string,
  { seed, open = readTrace, shrink = false }: ComposeOptions = {},
): Promise<Composed> {
  const parsed = composeSpecSchema.safeParse(await readYaml(specPath));
  if (!parsed.success) {
    const issues = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    throw new MaestroError('invalid_request', `${specPath}: ${issues.join('; ')}`);
  }
  const opened = new Map<string, Promise<Trace>>();
  const load = (path: string) => {
    const full = resolve(dirname(specPath), path);
    const trace = opened.get(full) ?? open(full);
    opened.set(full, trace);
    return trace;
  };
  return await compose(seed === undefined ? parsed.data : { ...parsed.data, seed }, load, shrink);
}

async function readYaml(path: string): Promise<unknown> {
  try {
    return parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw new MaestroError('invalid_request', `${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

/** Builds the workload of a spec; `load` opens the traces that it names. */
export async function compose(
  asked: ComposeSpec,
  load: (path: string) => Promise<Trace>,
  shrink = false,
): Promise<Composed> {
  const { spec, shrunk } = shrink ? await shrinkToFit(asked, load) : { spec: asked, shrunk: undefined };
  const rng = new SeededRng(spec.seed);
  const sources: string[] = [];
  const workflows: TraceWorkflow[] = [];
  // Prefix blocks of different sources must not meet, so each trace gets a range of ids of its own.
  const offsets = new Map<string, number>();
  let nextOffset = 0;
  const drawn = new Drawn();
  for (const part of spec.workflows) {
    const trace = await load(part.trace);
    if (!offsets.has(part.trace)) {
      offsets.set(part.trace, nextOffset);
      nextOffset += blockIdEnd(trace.rows);
      sources.push(describe(part.trace, trace.header));
    }
    const offset = offsets.get(part.trace)!;
    for (const workflow of drawn.take(part, candidatesOf(part, trace.rows), rng)) {
      workflows.push({ ...workflow, rows: workflow.rows.map((row) => shiftBlocks(row, offset)) });
    }
  }
  shuffle(workflows, rng);
  const arrivals = await load(spec.arrivals.trace);
  sources.push(`arrivals: ${describe(spec.arrivals.trace, arrivals.header)}`);
  const times = arrivalTimes(spec, arrivals.rows, workflows.length);
  const from = (spec.arrivals.template ?? 'arrivals').replace(/[^\w.-]/g, '-');
  const rows = workflows.flatMap((workflow, index) => dress(spec, workflow, times[index]!, from, rng));
  return {
    header: {
      maestro_trace: 1,
      source: `${spec.title}: ${sources.join('; ')}`,
      notes: [
        'Composed: structure, roles and token counts as in the sources; request arrivals stand in for workflow arrivals (order kept, rate rescaled).',
        'Sampled by seed: which workflow comes when, models, classes, tenants. By rule: deadlines, max_tokens, cuts.',
      ],
    },
    rows,
    ...(shrunk === undefined ? {} : { shrunk }),
  };
}

/** Arrival of each workflow: the gaps of the arrivals trace in their order, scaled to the wanted mean. */
function arrivalTimes(spec: ComposeSpec, rows: readonly TraceRow[], count: number): number[] {
  const { skip, meanGapMs, trace } = spec.arrivals;
  const recorded = recordedTimes(spec, rows).slice(skip, skip + count);
  if (recorded.length < count) {
    throw new MaestroError('invalid_request', `${trace}: ${count} arrivals wanted, ${recorded.length} there`);
  }
  const firstMs = recorded[0]!;
  const spanMs = recorded.at(-1)! - firstMs;
  const scale = spanMs > 0 ? (meanGapMs * (count - 1)) / spanMs : 0;
  return recorded.map((atMs) => Math.round((atMs - firstMs) * scale));
}

/** Gives a workflow its arrival, class, deadline, tenant and models. */
function dress(spec: ComposeSpec, workflow: TraceWorkflow, arrivalMs: number, from: string, rng: Rng): TraceRow[] {
  const sloClass = weighted(
    Object.entries(spec.classes).map(([name, { share }]) => [name, share]),
    rng,
  );
  const { deadlineMs, deadlineMsByTemplate } = spec.classes[sloClass]!;
  const deadline = deadlineMsByTemplate[workflow.template ?? ''] ?? deadlineMs;
  const tenant = spec.tenants === undefined ? workflow.tenant : weighted(Object.entries(spec.tenants), rng);
  const models = new Map<string, string>();
  return workflow.rows.map((row) => {
    const agent = `${row.role ?? ''}/${row.agent ?? ''}`;
    let model = models.get(agent);
    if (model === undefined) {
      model = weighted(Object.entries(modelRule(spec, workflow, row)), rng);
      models.set(agent, model);
    }
    const derived = [...(row.derived ?? []), 'model:sample:spec', 'class:sample:spec', 'deadline_ms:rule'];
    if (isRoot(row)) derived.push(`timestamp:sample:${from}`);
    const dressed: TraceRow = {
      ...row,
      workflow_id: workflow.workflowId,
      ...(tenant !== undefined && { tenant }),
      ...(isRoot(row) && { timestamp: arrivalMs + Math.max(0, (row.timestamp ?? 0) - (workflow.arrivalMs ?? 0)) }),
      class: sloClass,
      deadline_ms: deadline,
      model,
    };
    if (spec.maxTokens !== undefined) dressed.max_tokens = limitAbove(spec.maxTokens, row.output_length);
    if (spec.maxWaitMs !== undefined) {
      for (const wait of ['delay', 'tool_wait_ms'] as const) {
        if ((row[wait] ?? 0) <= spec.maxWaitMs) continue;
        dressed[wait] = spec.maxWaitMs;
        derived.push(`${wait}:rule`);
      }
    }
    return { ...dressed, derived };
  });
}

function modelRule(spec: ComposeSpec, workflow: TraceWorkflow, row: TraceRow): Record<string, number> {
  const rule = spec.models.find(
    ({ template, role }) =>
      (template === undefined || template === workflow.template) && (role === undefined || role === row.role),
  );
  if (rule) return rule.choose;
  throw new MaestroError(
    'invalid_request',
    `no entry of models matches template ${workflow.template ?? '(none)'}, role ${row.role ?? '(none)'}; add one without template and role`,
  );
}

function weighted(choices: readonly (readonly [string, number])[], rng: Rng): string {
  const total = choices.reduce((sum, [, weight]) => sum + weight, 0);
  let left = rng.next() * total;
  for (const [name, weight] of choices) {
    left -= weight;
    if (left < 0) return name;
  }
  return choices.at(-1)![0];
}

function describe(path: string, header: TraceHeader | undefined): string {
  const licence = header?.licence === undefined ? '' : ` (${header.licence})`;
  return `${header?.source ?? path}${licence}`;
}
