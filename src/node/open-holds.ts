import { ChurnMap } from '../model/churn-map.js';
import type { Lease } from '../model/fleet.js';

/** How a held reservation ends. */
export type HoldEnd =
  | { readonly kind: 'grant'; readonly lease: Lease }
  | { readonly kind: 'released'; readonly reason: string };

type OnEnd = (end: HoldEnd) => void;

/** Who hears of the end of each hold of a node. */
export class OpenHolds {
  private readonly byStage = new ChurnMap<{ readonly engineId: string; readonly onEnd: OnEnd }>();

  open(stageId: string, engineId: string, onEnd: OnEnd): void {
    this.byStage.set(stageId, { engineId, onEnd });
  }

  /** Nobody wants to hear of it any more. */
  drop(stageId: string): void {
    this.byStage.delete(stageId);
  }

  /** Tells the end of the stage's hold on that engine, if it has one there. */
  end(stageId: string, engineId: string, end: HoldEnd): void {
    const held = this.byStage.get(stageId);
    if (held?.engineId !== engineId) return;
    this.byStage.delete(stageId);
    held.onEnd(end);
  }

  all(): [stageId: string, onEnd: OnEnd][] {
    return [...this.byStage].map(([stageId, { onEnd }]) => [stageId, onEnd]);
  }
}
