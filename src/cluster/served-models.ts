import type { EngineSpec, EngineView } from '../model/fleet.js';

/** One model of the fleet, or one adapter, as counted from the engines' views. */
export interface ModelPresence {
  readonly name: string;
  /** Of an adapter: the model that it sits on. */
  readonly base?: string;
  /** Other names under which its engines serve it. */
  readonly otherNames: readonly string[];
  readonly maxModelLen: number;
  readonly engines: number;
  readonly enginesUp: number;
}

/** What of an engine's view says which names it serves. */
interface Served extends Pick<EngineSpec, 'model' | 'maxModelLen' | 'adapters' | 'otherNames'> {
  readonly up: boolean;
}

/** Which models and adapters the engines serve and how many of them answer; kept current from views, so that a look-up costs nothing. */
export class ServedModels {
  private readonly views = new Map<string, Served>();
  private presence = new Map<string, ModelPresence>();
  private stale = false;

  update({ spec, state }: EngineView): void {
    const { engineId, model, maxModelLen, adapters, otherNames } = spec;
    const up = state !== 'down' && state !== 'failed';
    const known = this.views.get(engineId);
    if (
      known?.model === model &&
      known.up === up &&
      known.maxModelLen === maxModelLen &&
      known.adapters === adapters &&
      known.otherNames === otherNames
    )
      return;
    this.views.set(engineId, {
      model,
      up,
      maxModelLen,
      ...(adapters && { adapters }),
      ...(otherNames && { otherNames }),
    });
    this.stale = true;
  }

  remove(engineId: string): void {
    if (this.views.delete(engineId)) this.stale = true;
  }

  has(engineId: string): boolean {
    return this.views.has(engineId);
  }

  /**
   * By name, models before adapters, each in order of first appearance. Engines whose model is not known yet (empty name) are left out, and so is an adapter that is called like a model,
   * or like one on another model.
   */
  all(): ReadonlyMap<string, ModelPresence> {
    if (!this.stale) return this.presence;
    this.stale = false;
    this.presence = new Map();
    const known = [...this.views.values()].filter(({ model }) => model !== '');
    for (const served of known) this.count(served.model, undefined, served, served.otherNames ?? []);
    for (const served of known) for (const name of served.adapters ?? []) this.count(name, served.model, served, []);
    return this.presence;
  }

  private count(name: string, base: string | undefined, { maxModelLen, up }: Served, names: readonly string[]): void {
    const before = this.presence.get(name);
    if (before && before.base !== base) return;
    this.presence.set(name, {
      name,
      ...(base === undefined ? {} : { base }),
      otherNames: [...new Set([...(before?.otherNames ?? []), ...names])],
      maxModelLen: Math.max(before?.maxModelLen ?? 0, maxModelLen),
      engines: (before?.engines ?? 0) + 1,
      enginesUp: (before?.enginesUp ?? 0) + (up ? 1 : 0),
    });
  }
}
