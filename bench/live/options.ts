import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { positive, readFlags } from '../flags.js';

/** What can stand in front of the fleet, in the order in which it is measured. */
export const TARGET_NAMES = ['nginx', 'vllm-router', 'vllm-router-programs', 'maestro', 'maestro-fleet'] as const;
export type TargetName = (typeof TARGET_NAMES)[number];

export interface BenchOptions {
  readonly targets: readonly TargetName[];
  /** Arrival rates, relative to the capacity that the workload file states. */
  readonly loads: readonly number[];
  /** Folder for report.md, report.json and the report of every cell. */
  readonly out: string | undefined;
  readonly json: boolean;
  /** Where peers are installed. */
  readonly cache: string;
  readonly limitWorkflows: number | undefined;
  /** Deals workflows and arrivals anew; undefined: the seed of the workload file. */
  readonly seed: number | undefined;
}

/** Below capacity, at it, and above it. */
const DEFAULT_LOADS = '0.7,1,1.3';

/** Reads the command line; throws as `readFlags` does, and an Error that names the flag and what it takes. */
export function parseOptions(args: readonly string[]): BenchOptions {
  const about =
    'npm run bench:live -- [flags]\nOne emulated fleet behind several gateways, one agentic trace, in real time.';
  const flags = {
    targets: { type: 'string', default: TARGET_NAMES.join(','), help: 'what stands in front of the fleet' },
    loads: { type: 'string', default: DEFAULT_LOADS, help: 'relative to the capacity of the workload file' },
    seed: { type: 'string', help: 'deals workflows and arrivals anew; without it that of the workload file' },
    'limit-workflows': { type: 'string', help: 'only so many of them' },
    out: { type: 'string', help: 'folder for report.md, report.json and what each cell leaves' },
    json: { type: 'boolean', default: false, help: 'print the report as JSON' },
    cache: { type: 'string', default: join(tmpdir(), 'maestro-bench-live'), help: 'where peers are installed' },
  } as const;
  const values = readFlags(about, flags, args);
  const limit = values['limit-workflows'];
  return {
    targets: values.targets.split(',').map(targetName),
    loads: values.loads.split(',').map((text) => positive('--loads', text)),
    out: values.out,
    json: values.json,
    cache: values.cache,
    limitWorkflows: limit === undefined ? undefined : Math.ceil(positive('--limit-workflows', limit)),
    seed: values.seed === undefined ? undefined : Math.ceil(positive('--seed', values.seed)),
  };
}

function targetName(text: string): TargetName {
  const name = TARGET_NAMES.find((known) => known === text.trim());
  if (name) return name;
  throw new Error(`--targets: "${text}" is none of ${TARGET_NAMES.join(', ')}`);
}
