import type { EngineView } from '../model/fleet.js';

/** One model of the fleet, as counted from the engines' views. */
export interface ModelPresence {
  readonly name: string;
  readonly maxModelLen: number;
  readonly engines: number;
  readonly enginesUp: number;
}

/** Which models the engines serve and how many of them answer; kept current from views, so that a look-up costs nothing. */
export class ServedModels {
  private readonly views = new Map<string, { model: string; up: boolean; maxModelLen: number }>();
  private presence = new Map<string, ModelPresence>();
  private stale = false;

  update(view: EngineView): void {
    const { engineId, model, maxModelLen } = view.spec;
    const up = view.state !== 'down' && view.state !== 'failed';
    const known = this.views.get(engineId);
    if (known && known.model === model && known.up === up && known.maxModelLen === maxModelLen) return;
    this.views.set(engineId, { model, up, maxModelLen });
    this.stale = true;
  }

  /** By model name, in order of first appearance. Engines whose model is not known yet (empty name) are left out. */
  all(): ReadonlyMap<string, ModelPresence> {
    if (!this.stale) return this.presence;
    this.stale = false;
    this.presence = new Map();
    for (const { model, up, maxModelLen } of this.views.values()) {
      if (model === '') continue;
      const before = this.presence.get(model);
      this.presence.set(model, {
        name: model,
        maxModelLen: Math.max(before?.maxModelLen ?? 0, maxModelLen),
        engines: (before?.engines ?? 0) + 1,
        enginesUp: (before?.enginesUp ?? 0) + (up ? 1 : 0),
      });
    }
    return this.presence;
  }
}
