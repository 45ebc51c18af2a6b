import { MaestroError } from '../model/error.js';
import type { QueueBudget } from '../model/queue-budget.js';

/**
 * Takes room for one open request with a body of `bytes`, in place of the room for `before` bytes that it may have already. Returns `bytes`. Throws `queue_full` where
 * there is none; what was taken before stays taken then.
 */
export function takeRoom(budget: QueueBudget, bytes: number, before: number | undefined): number {
  if (before !== undefined) budget.remove(before);
  const full = budget.tryAdd(bytes);
  if (!full) return bytes;
  if (before !== undefined) budget.add(before);
  throw new MaestroError('queue_full', 'Too many requests are open here. Try again shortly.', {
    reason: full === 'count' ? 'too-many-requests' : 'too-many-bytes',
  });
}
