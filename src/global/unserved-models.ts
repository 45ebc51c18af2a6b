import { type Stage, servedName } from '../model/stage.js';

/** Stages of a model or an adapter that no engine serves, and none is started for, wait this long for one to come back; then they are told, and later ones with them. */
const NO_ENGINE_GRACE_MS = 10_000;

/** Does an engine answer that serves what is asked for, or is one being started; is there one at least that may come back; or is there none in the fleet? */
export type Prospect = 'served' | 'down' | 'none';

/** Models and adapters for which stages wait and no engine answers, and since when. */
export class UnservedModels {
  private readonly sinceMs = new Map<string, number>();

  /**
   * @param find The model or adapter of a name, and how many of its engines answer.
   * @param comesBack Is an engine of this model being started? Absent: nobody starts engines.
   */
  constructor(
    private readonly find: (name: string) => { readonly enginesUp: number } | undefined,
    private readonly comesBack: ((model: string) => boolean) | undefined,
  ) {}

  /** What is to be hoped for who asks for a model by this name. */
  readonly prospectOf = (name: string, model = name): Prospect => {
    const served = this.find(name);
    if ((served?.enginesUp ?? 0) > 0 || this.comesBack?.(model) === true) return 'served';
    return served ? 'down' : 'none';
  };

  /** The same for a stage, which may want an adapter. */
  prospectOfStage(stage: Stage): Prospect {
    return this.prospectOf(servedName(stage), stage.model);
  }

  /**
   * Those of the waiting stages that wait for nobody: none has served what they ask for, for the grace, or there is nobody to wait for.
   */
  hopeless<Waiting extends { readonly stage: Stage }>(waiting: readonly Waiting[], nowMs: number): Waiting[] {
    const byName = new Map<string, Waiting[]>();
    for (const one of waiting) {
      const name = servedName(one.stage);
      const others = byName.get(name);
      if (others) others.push(one);
      else byName.set(name, [one]);
    }
    for (const name of this.sinceMs.keys()) if (!byName.has(name)) this.sinceMs.delete(name);
    return [...byName].flatMap(([name, stages]) => {
      const prospect = this.prospectOfStage(stages[0]!.stage);
      if (prospect === 'served') {
        this.sinceMs.delete(name);
        return [];
      }
      const sinceMs = this.sinceMs.get(name) ?? nowMs;
      this.sinceMs.set(name, sinceMs);
      return prospect === 'down' && nowMs - sinceMs < NO_ENGINE_GRACE_MS ? [] : stages;
    });
  }
}
