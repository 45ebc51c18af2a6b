import type { EngineFilter } from './filter.js';
import { FITS_POOL } from './fits-pool.js';
import { FRESH } from './fresh.js';
import { HEALTHY } from './healthy.js';
import { KV_FREE } from './kv-free.js';
import { MODEL_ALLOWED } from './model-allowed.js';
import { NOT_EXCLUDED } from './not-excluded.js';
import { PINNED } from './pinned.js';
import { SEAT_FREE } from './seat-free.js';

/**
 * Every filter, in the order in which they are asked; the first that refuses is the one an explanation counts. Staleness of the
 * caller itself (its epoch) is refused by the node, which alone knows the newest epoch.
 */
export const ENGINE_FILTERS: readonly EngineFilter[] = [
  MODEL_ALLOWED,
  NOT_EXCLUDED,
  PINNED,
  HEALTHY,
  FRESH,
  FITS_POOL,
  KV_FREE,
  SEAT_FREE,
];
