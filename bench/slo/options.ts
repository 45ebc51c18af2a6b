import { availableParallelism } from 'node:os';
import { REPORT_PARTS, type ReportPart } from '../../sim/sweep/plan.js';
import { count, positive, readFlags } from '../flags.js';
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
  /** Undefined: those that the spec names, for the main comparison and for what is changed one at a time. */
  readonly loads: readonly number[] | undefined;
  /** Undefined: as many as the spec says. */
  readonly seeds: number | undefined;
  readonly jobs: number;
  readonly findCapacity: boolean;
  /** The command that gives the same report. */
  readonly command: string;
}

/** Reads the command line; throws as `readFlags` does, and an Error that names the flag and what it takes. */
export function parseOptions(args: readonly string[], { workloads }: Pick<SloSpec, 'workloads'>): SloOptions {
  const names = workloads.map(({ name }) => name);
  const about =
    'npm run bench:slo -- [flags]\nEvery policy on every workload at several loads, under two rules of deadlines.';
  const flags = {
    quick: { type: 'boolean', default: false, help: 'the short form: minutes on two cores' },
    out: { type: 'string', default: 'slo-report', help: 'folder for report.html, report.md and report.json' },
    traces: { type: 'string', help: 'folder with a sub-folder for each source, in place of the traces that ship' },
    workloads: { type: 'string', help: `of ${names.join(', ')}` },
    policies: { type: 'string', help: 'such as maestro,edf,fcfs; without it those of the workload' },
    parts: { type: 'string', help: `of ${REPORT_PARTS.join(', ')}` },
    loads: { type: 'string', help: 'such as 0.9,1.2; without it those of the benchmark' },
    seeds: { type: 'string', help: 'how many; without it as many as the benchmark has' },
    jobs: { type: 'string', default: String(availableParallelism()), help: 'runs at a time' },
    'find-capacity': { type: 'boolean', default: false, help: 'find the rate that is load 1, and write nothing' },
  } as const;
  const values = readFlags(about, flags, args);
  const size: Size = values.quick ? 'quick' : 'full';
  const wanted = values.workloads === undefined ? undefined : choice('--workloads', values.workloads, names);
  const parts = values.parts === undefined ? undefined : choice('--parts', values.parts, REPORT_PARTS);
  const options = [
    ...(values.quick ? ['--quick'] : []),
    ...(['workloads', 'policies', 'parts', 'loads', 'seeds'] as const).flatMap((name) =>
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
    loads: values.loads?.split(',').map((text) => positive('--loads', text)),
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
