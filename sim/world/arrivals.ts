import type { EventLoop, Scheduled } from '../event-loop.js';
import type { Arrival } from '../types.js';

/** Lets the workflows of a run arrive, each in its time. One event serves all of them: it is set again for the next. */
export class Arrivals {
  /** Some have yet to come. */
  left = true;
  private readonly rest: Iterator<Arrival>;
  private coming: Arrival | undefined;
  private event: Scheduled | undefined;
  private readonly arrives = () => {
    this.arrive(this.coming!);
    this.next();
  };

  constructor(
    arrivals: Iterable<Arrival>,
    private readonly loop: EventLoop,
    private readonly arrive: (arrival: Arrival) => void,
  ) {
    this.rest = arrivals[Symbol.iterator]();
  }

  /** Sets the event of the next one. */
  next(): void {
    const { loop, event } = this;
    const next = this.rest.next();
    if (next.done) {
      this.left = false;
      return;
    }
    this.coming = next.value;
    if (event) loop.move(event, next.value.atMs);
    else this.event = loop.at(next.value.atMs, this.arrives);
  }
}
