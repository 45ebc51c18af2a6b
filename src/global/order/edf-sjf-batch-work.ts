import { EDF_SJF_LATE_LAST } from './late-last.js';
import type { OrderInput, OrderingPolicy } from './policy.js';
import { QOSERVE } from './qoserve.js';

/**
 * An order for each kind of class. Interactive workflows have tight deadlines, so what is left of one is predicted too roughly to weigh it, and nobody is given up who could still be in time. A batch workflow has
 * time: there the work that is left decides who can be in time, and giving up early those who cannot frees whole minutes for others. On the tuning seeds of `bench/slo` it is level with the
 * better of the two in every cell, and above both with proportional deadlines on one GPU.
 */
export const EDF_SJF_BATCH_WORK: OrderingPolicy = {
  name: 'edf-sjf-batch-work',
  summary: `interactive: ${EDF_SJF_LATE_LAST.summary}; batch: ${QOSERVE.summary}`,
  keyUnit: 'instant',
  usesLoad: true,
  key: (input) => orderOf(input).key(input),
  changesAtMs: (input) => orderOf(input).changesAtMs?.(input) ?? Number.POSITIVE_INFINITY,
};

function orderOf({ kind }: OrderInput): OrderingPolicy {
  return kind === 'batch' ? QOSERVE : EDF_SJF_LATE_LAST;
}
