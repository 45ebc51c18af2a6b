/** Waiting stages per slot of the model's engines at which each load step begins. Step 0 is below the first. */
export const LOAD_STEPS: readonly number[] = [1, 2, 4, 8];
/** The step of a flood (`SingleCalls`), beyond all others. */
export const FLOODED = LOAD_STEPS.length + 1;
/** A step, and a flood, is left again when what began it falls below this share of its threshold, so that keys do not flicker. */
export const LEAVE_SHARE = 0.75;

/** Turns the length of a queue into a step that changes rarely, so that load-dependent keys stay cheap in a long queue. */
export class LoadSteps {
  private current = 0;
  private flooded = false;

  get step(): number {
    return this.flooded ? FLOODED : this.current;
  }

  /** Takes the present queue length, the slots that serve it, and whether it is a flood; true when the step has changed. */
  update(waitingStages: number, slots: number, flooded: boolean): boolean {
    const pressure = waitingStages / Math.max(1, slots);
    const before = this.step;
    this.flooded = flooded;
    while (this.current < LOAD_STEPS.length && pressure >= LOAD_STEPS[this.current]!) this.current += 1;
    while (this.current > 0 && pressure < LEAVE_SHARE * LOAD_STEPS[this.current - 1]!) this.current -= 1;
    return this.step !== before;
  }
}
