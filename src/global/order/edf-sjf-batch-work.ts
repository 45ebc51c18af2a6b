import { EDF_SJF_LATE_LAST } from './late-last.js';
import { FLOODED } from './load-steps.js';
import type { OrderInput, OrderingPolicy } from './policy.js';
import { QOSERVE } from './qoserve.js';

/**
 * Share of its time by which a batch workflow counts as due earlier beside interactive ones where models take turns on a GPU. Otherwise it comes after every interactive call until it is nearly due, and after
 * a backlog many are nearly due at once. Where all can be awake nothing is gained by it, and workflows with proportional deadlines lose a point (`coding` 1.0 ± 0.9 at 1.5). On the tuning seeds of `bench/slo` 1/12, 1/6, 1/4 and 2/5 were tried.
 */
const EARLIER_BY = 1 / 6;

/**
 * An order for each kind of class. Interactive workflows have tight deadlines, so what is left of one is predicted too roughly to weigh it, and nobody is given up who could still be in time. A batch workflow has
 * time: there the work that is left decides who can be in time, and giving up early those who cannot frees whole minutes for others. On the tuning seeds of `bench/slo` it is level with the
 * better of the two in nearly every cell, and above both on one GPU.
 */
export const EDF_SJF_BATCH_WORK: OrderingPolicy = {
  name: 'edf-sjf-batch-work',
  summary: `interactive: ${EDF_SJF_LATE_LAST.summary}; batch: ${QOSERVE.summary}, and where models take turns as if due when five sixths of its time are over`,
  keyUnit: 'instant',
  usesLoad: true,
  fitsSeats: true,
  key: (input) => {
    const { takesTurns, workflow } = input;
    if (orderOf(input) === EDF_SJF_LATE_LAST) return EDF_SJF_LATE_LAST.key(input);
    const earlierMs = takesTurns ? EARLIER_BY * (workflow.deadlineMs - workflow.arrivalMs) : 0;
    return QOSERVE.key(input) - earlierMs;
  },
  changesAtMs: (input) => orderOf(input).changesAtMs?.(input) ?? Number.POSITIVE_INFINITY,
};

/** In a flood batch gets a small share of the seats: too little for any rule but the shortest first. */
function orderOf({ kind, loadStep }: OrderInput): OrderingPolicy {
  return kind === 'batch' && loadStep !== FLOODED ? QOSERVE : EDF_SJF_LATE_LAST;
}
