/** Stages of a model that no engine serves, and none is started for, wait this long for one to come back; then they are told, and later ones with them. */
const NO_ENGINE_GRACE_MS = 10_000;

/** Does an engine of the model answer, or is one being started; is there one at least that may come back; or is there none in the fleet? */
export type Prospect = 'served' | 'down' | 'none';

/** Models with a queue and no engine that answers, and since when. */
export class UnservedModels {
  private readonly sinceMs = new Map<string, number>();

  /**
   * Models whose queue waits for nobody: none has served them for the grace, or there is nobody to wait for.
   *
   * @param queued Stages in the queue of each model.
   */
  hopeless(queued: Readonly<Record<string, number>>, prospectOf: (model: string) => Prospect, nowMs: number): string[] {
    for (const model of this.sinceMs.keys()) if (!queued[model]) this.sinceMs.delete(model);
    return Object.entries(queued).flatMap(([model, count]) => {
      const prospect = count === 0 ? 'served' : prospectOf(model);
      if (prospect === 'served') {
        this.sinceMs.delete(model);
        return [];
      }
      const sinceMs = this.sinceMs.get(model) ?? nowMs;
      this.sinceMs.set(model, sinceMs);
      return prospect === 'down' && nowMs - sinceMs < NO_ENGINE_GRACE_MS ? [] : [model];
    });
  }
}
