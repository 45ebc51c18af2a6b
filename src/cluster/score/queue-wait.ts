import { type EngineRecord, leasesOf, seatsOf } from '../engine-record.js';
import type { PlaceRequest } from '../place-request.js';
import type { EngineScorer } from './scorer.js';

/**
 * Until a seat of the engine comes free for the stage. Leases beyond the seats, and requests that the engine itself reports as
 * waiting, go before it; a seat comes free every mean lease ÷ seats.
 */
export const QUEUE_WAIT: EngineScorer = { name: 'queue', delayMs: seatWaitMs };

function seatWaitMs({ limits }: PlaceRequest, engine: EngineRecord): number {
  const seats = Math.max(1, seatsOf(engine, limits));
  const beyondSeats = leasesOf(engine) + 1 - seats;
  const ahead = Math.max(beyondSeats, engine.view.engineWaiting);
  return ahead <= 0 ? 0 : (ahead * engine.leaseTime.meanMs) / seats;
}
