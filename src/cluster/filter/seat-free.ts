import { freePlaces } from '../engine-record.js';
import type { EngineFilter } from './filter.js';

/** The engine has a seat, a place in its look-ahead or, when it is not running, a place among its holds. */
export const SEAT_FREE: EngineFilter = {
  name: 'seat',
  passes: ({ limits }, engine) => freePlaces(engine, limits) > 0,
};
