import { FreePlaces, floatsWithRoom } from '../model/flat.js';
import { type Said, WORK_CONTESTANTS, type WorkContestant } from './contest.js';

/** What was said to be left of a workflow. */
export interface WorkSaid extends Said<WorkContestant> {
  /** The one of them that served, and the mean of the last residuals of its template at that time, see `RecentShift`. */
  readonly served: number;
  readonly recent: number;
}

const WIDTH = WORK_CONTESTANTS.length + 2;

/** What was said to be left of workflows that have not ended, each under a number; in one flat array, for there are thousands. */
export class SaidWork {
  private readonly places = new FreePlaces();
  private numbers = new Float64Array();
  private readonly found = { model: 0, lookup: 0, blend: 0, served: 0, recent: 0 };

  /** Keeps it; returns its number. */
  keep({ model, lookup, blend, served, recent }: WorkSaid): number {
    const place = this.places.take();
    const at = WIDTH * place;
    this.numbers = floatsWithRoom(this.numbers, at + WIDTH - 1);
    this.numbers[at] = model;
    this.numbers[at + 1] = lookup;
    this.numbers[at + 2] = blend;
    this.numbers[at + 3] = served;
    this.numbers[at + 4] = recent;
    return place;
  }

  /** Gives it back, until the next call, and forgets it; undefined where it does not hold any more. */
  take(place: number): WorkSaid | undefined {
    this.places.give(place);
    const { found, numbers } = this;
    const at = WIDTH * place;
    found.model = numbers[at]!;
    found.lookup = numbers[at + 1]!;
    found.blend = numbers[at + 2]!;
    found.served = numbers[at + 3]!;
    found.recent = numbers[at + 4]!;
    return Number.isNaN(found.model) ? undefined : found;
  }

  /** Nothing that has been said holds any more. */
  revoke(): void {
    this.numbers.fill(Number.NaN);
  }
}
