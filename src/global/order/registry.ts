import { EDF } from './edf.js';
import { EDF_RELEGATION } from './edf-relegation.js';
import { EDF_SJF } from './edf-sjf.js';
import { EDF_SJF_BATCH_WORK } from './edf-sjf-batch-work.js';
import { FCFS } from './fcfs.js';
import { FCFS_WORKFLOW } from './fcfs-workflow.js';
import { FEWER_SEATS_POLICIES } from './fewer-seats.js';
import { HYBRID } from './hybrid.js';
import { KAIROS } from './kairos.js';
import { KV_POLICIES } from './kv-admission.js';
import { EDF_LATE_LAST, EDF_SJF_LATE_LAST, PLAS_LATE_LAST, SJF_LATE_LAST } from './late-last.js';
import { LLF } from './llf.js';
import { LOAD_HYBRID } from './load-hybrid.js';
import { MAESTRO } from './maestro.js';
import { ORACLE_EDF, ORACLE_SRTF, ORACLE_SRW } from './oracle.js';
import { PLAS } from './plas.js';
import type { OrderingPolicy } from './policy.js';
import { QOSERVE } from './qoserve.js';
import { SJF } from './sjf.js';
import { SRTF } from './srtf.js';
import { SRW } from './srw.js';
import { WFQ } from './wfq.js';

/** Every ordering policy that can serve. A new one is a file in this folder and a line here. */
export const ORDERING_POLICIES: readonly OrderingPolicy[] = [
  FCFS,
  FCFS_WORKFLOW,
  EDF,
  EDF_RELEGATION,
  LLF,
  SJF,
  SRTF,
  SRW,
  PLAS,
  WFQ,
  HYBRID,
  LOAD_HYBRID,
  KAIROS,
  QOSERVE,
  EDF_SJF,
  EDF_LATE_LAST,
  SJF_LATE_LAST,
  PLAS_LATE_LAST,
  EDF_SJF_LATE_LAST,
  EDF_SJF_BATCH_WORK,
  ...KV_POLICIES,
  ...FEWER_SEATS_POLICIES,
  MAESTRO,
];

/** Policies that know the future: for the simulator alone, to see what better knowledge could bring. */
export const ORACLE_POLICIES: readonly OrderingPolicy[] = [ORACLE_EDF, ORACLE_SRTF, ORACLE_SRW];

/** The names that configuration files may use. */
export const ORDERING_POLICY_NAMES: readonly string[] = ORDERING_POLICIES.map((policy) => policy.name);

/** The policy of a name that can serve. */
export function findOrderingPolicy(name: string): OrderingPolicy | undefined {
  return ORDERING_POLICIES.find((policy) => policy.name === name);
}
