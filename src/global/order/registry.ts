import { EDF } from './edf.js';
import { FCFS } from './fcfs.js';
import { FCFS_WORKFLOW } from './fcfs-workflow.js';
import { LLF } from './llf.js';
import { MAESTRO } from './maestro.js';
import { PLAS } from './plas.js';
import type { OrderingPolicy } from './policy.js';
import { SJF } from './sjf.js';
import { SRTF } from './srtf.js';

/** Every ordering policy. A new one is a file in this folder and a line here. */
export const ORDERING_POLICIES: readonly OrderingPolicy[] = [FCFS, FCFS_WORKFLOW, EDF, LLF, SJF, SRTF, PLAS, MAESTRO];

/** The names that configuration files and command lines may use. */
export const ORDERING_POLICY_NAMES: readonly string[] = ORDERING_POLICIES.map((policy) => policy.name);

export function findOrderingPolicy(name: string): OrderingPolicy | undefined {
  return ORDERING_POLICIES.find((policy) => policy.name === name);
}
