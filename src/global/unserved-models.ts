/** Stages of a model that no engine serves, and none is started for, wait this long for one to come back; then they are told, and later ones with them. */
const NO_ENGINE_GRACE_MS = 10_000;

/** Models with a queue and no engine that answers, and since when. */
export class UnservedModels {
  private readonly sinceMs = new Map<string, number>();

  /**
   * Models whose queue waits for nobody: none has served them for the grace.
   *
   * @param queued Stages in the queue of each model.
   * @param willServe Does an engine of this model answer, or is one being started?
   */
  hopeless(queued: Readonly<Record<string, number>>, willServe: (model: string) => boolean, nowMs: number): string[] {
    for (const model of this.sinceMs.keys()) if (!queued[model]) this.sinceMs.delete(model);
    return Object.entries(queued).flatMap(([model, count]) => {
      if (count === 0 || willServe(model)) {
        this.sinceMs.delete(model);
        return [];
      }
      const sinceMs = this.sinceMs.get(model) ?? nowMs;
      this.sinceMs.set(model, sinceMs);
      return nowMs - sinceMs < NO_ENGINE_GRACE_MS ? [] : [model];
    });
  }
}
