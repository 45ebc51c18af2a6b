/** Waiting stages per slot of the model's engines at which each load step begins. Step 0 is below the first. */
export const LOAD_STEPS: readonly number[] = [1, 2, 4, 8];
/** The step of a queue that is a flood (`SingleCalls`), beyond all others. */
export const FLOODED = LOAD_STEPS.length + 1;
/** A step, and a flood, is left again when what began it falls below this share of its threshold, so that keys do not flicker. */
export const LEAVE_SHARE = 0.75;

/** Turns the length of a queue into a step that changes rarely, so that load-dependent keys stay cheap in a long queue. */
export class LoadSteps {
  step = 0;

  /** Takes the present queue length, and the slots that serve it. */
  update(waitingStages: number, slots: number): void {
    const pressure = waitingStages / Math.max(1, slots);
    while (this.step < LOAD_STEPS.length && pressure >= LOAD_STEPS[this.step]!) this.step += 1;
    while (this.step > 0 && pressure < LEAVE_SHARE * LOAD_STEPS[this.step - 1]!) this.step -= 1;
  }
}
