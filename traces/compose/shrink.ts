import { basename } from 'node:path';
import { MaestroError } from '../../src/model/error.js';
import type { Trace } from '../schema.js';
import type { TraceWorkflow } from '../workflow.js';
import { candidatesOf, recordedTimes } from './draw.js';
import type { ComposePart, ComposeSpec } from './spec.js';

/** How much smaller a workload is than its spec says. */
export interface Shrunk {
  /** Of the workflows of the spec, in (0, 1). */
  readonly share: number;
  /** For people: what there was too little of. */
  readonly why: string;
}

/** With fewer workflows, one alone moves the share in time by a tenth: that says nothing. */
const LEAST_WORKFLOWS = 10;

/**
 * The spec with all its parts shrunk alike, so that the traces can fill it: the mix stays as it is. A part of which there is nothing is left out. A spec that the traces
 * fill comes back as it is; one that is left with too few workflows, or without arrivals, throws.
 */
export async function shrinkToFit(
  spec: ComposeSpec,
  load: (path: string) => Promise<Trace>,
): Promise<{ readonly spec: ComposeSpec; readonly shrunk?: Shrunk }> {
  const wanted = spec.workflows.reduce((sum, { take }) => sum + take, 0);
  const why: string[] = [];
  let share = 1;
  const there: ComposePart[] = [];
  for (const [index, part] of spec.workflows.entries()) {
    const found = await candidatesIn(part, load);
    if (typeof found === 'string') {
      why.push(`without ${basename(part.trace)} (workflows.${index}): ${found}`);
      continue;
    }
    const { length } = found;
    there.push(part);
    if (length < part.take) why.push(`${basename(part.trace)}: ${part.take} workflows wanted, ${length} fit`);
    share = Math.min(share, length / part.take);
  }
  const arrivals = recordedTimes(spec, (await load(spec.arrivals.trace)).rows).length;
  const left = there.reduce((sum, { take }) => sum + take, 0);
  if (arrivals < left) why.push(`${basename(spec.arrivals.trace)}: ${left} arrivals wanted, ${arrivals} there`);
  share = Math.min(share, arrivals / Math.max(1, left));
  // What is left of a rounding error in `length / take * take` must not cost a workflow.
  const takeOf = (take: number) => Math.max(1, Math.floor(take * share + 1e-9));
  const workflows = there.map((part) => ({ ...part, take: takeOf(part.take) }));
  const count = workflows.reduce((sum, { take }) => sum + take, 0);
  if (count < Math.min(wanted, LEAST_WORKFLOWS)) {
    throw new MaestroError(
      'invalid_request',
      `only ${count} workflows in the proportions of the spec, ${LEAST_WORKFLOWS} are the least: ${why.join('; ')}`,
    );
  }
  const skip = Math.min(spec.arrivals.skip, Math.max(0, arrivals - count));
  return {
    spec: { ...spec, workflows, arrivals: { ...spec.arrivals, skip } },
    ...(count < wanted ? { shrunk: { share: count / wanted, why: why.join('; ') } } : {}),
  };
}

/** What a part can be drawn from, or why there is nothing. */
async function candidatesIn(
  part: ComposePart,
  load: (path: string) => Promise<Trace>,
): Promise<readonly TraceWorkflow[] | string> {
  try {
    const candidates = candidatesOf(part, (await load(part.trace)).rows);
    return candidates.length > 0 ? candidates : 'no workflow fits';
  } catch (error) {
    if (error instanceof MaestroError) return error.message;
    throw error;
  }
}
