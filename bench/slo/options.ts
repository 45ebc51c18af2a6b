import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { REPORT_PARTS, type ReportPart } from '../../sim/sweep/plan.js';
import { defaultParts, POLICY_NAMES } from './cells.js';
import { runsIn, type Size, type SloSpec, type WorkloadSpec } from './spec.js';

export interface SloOptions {
  readonly size: Size;
  /** Folder of the report. */
  readonly out: string;
  /** Folder with other traces than those that ship. */
  readonly traces: string | undefined;
  readonly workloads: readonly WorkloadSpec[];
  /** Undefined: those of the workload. */
  readonly policies: readonly string[] | undefined;
  readonly parts: readonly ReportPart[];
  /** Undefined: as many as the spec says. */
  readonly seeds: number | undefined;
  readonly jobs: number;
  readonly findCapacity: boolean;
  /** The command that gives the same report. */
  readonly command: string;
}

/** Reads the command line; throws an Error that names the flag and what it takes. */
export function parseOptions(args: readonly string[], { workloads }: Pick<SloSpec, 'workloads'>): SloOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      out: { type: 'string', default: 'slo-report' },
      traces: { type: 'string' },
      workloads: { type: 'string' },
      policies: { type: 'string' },
      parts: { type: 'string' },
      seeds: { type: 'string' },
      jobs: { type: 'string', default: String(availableParallelism()) },
      'find-capacity': { type: 'boolean', default: false },
    },
  });
  const size: Size = values.quick ? 'quick' : 'full';
  const names = workloads.map(({ name }) => name);
  const wanted = values.workloads === undefined ? undefined : choice('--workloads', values.workloads, names);
  const parts = values.parts === undefined ? undefined : choice('--parts', values.parts, REPORT_PARTS);
  const options = [
    ...(values.quick ? ['--quick'] : []),
    ...(['workloads', 'policies', 'parts', 'seeds'] as const).flatMap((name) =>
      values[name] === undefined ? [] : [`--${name} ${values[name]}`],
    ),
    ...(values.traces === undefined ? [] : ['--traces (others)']),
  ];
  return {
    size,
    out: values.out,
    traces: values.traces,
    workloads: workloads.filter((each) => wanted?.includes(each.name) ?? runsIn(each, size)),
    policies: values.policies === undefined ? undefined : choice('--policies', values.policies, POLICY_NAMES),
    parts: parts === undefined ? defaultParts(values.quick) : REPORT_PARTS.filter((part) => parts.includes(part)),
    seeds: values.seeds === undefined ? undefined : count('--seeds', values.seeds),
    jobs: count('--jobs', values.jobs),
    findCapacity: values['find-capacity'],
    command: ['npm run bench:slo', ...(options.length > 0 ? ['--', ...options] : [])].join(' '),
  };
}

function choice<T extends string>(flag: string, text: string, among: readonly T[]): T[] {
  return text.split(',').map((word) => {
    const found = among.find((each) => each === word);
    if (found !== undefined) return found;
    throw new Error(`${flag}: no ${word}; there are ${among.join(', ')}`);
  });
}

function count(flag: string, text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isSafeInteger(value) && value > 0) return value;
  throw new Error(`${flag}: ${text} is not a whole number above 0`);
}
