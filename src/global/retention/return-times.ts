import { KeyMemo } from '../../model/key-memo.js';
import { LruMap } from '../../model/lru-map.js';
import type { Stage } from '../../model/stage.js';

/** Pauses remembered of one kind of stage, and how many kinds. */
const WINDOW = 64;
const MAX_KINDS = 4096;
/** With fewer pauses of its own a kind is told by all kinds together, and with fewer than that nobody knows. */
const MIN_SAMPLES = 8;
/** Unless so many stages have ended: then it is known that hardly anybody comes back, as where every workflow is one call. */
const MIN_ENDED = 64;

/** When workflows came back after stages of one kind. */
export interface ReturnTimes {
  /** Share of such stages after which their agent called the same model again. */
  readonly chance: number;
  /** Share of the context that the next prompt began with, on the mean. */
  readonly reusedShare: number;
  /** Pauses of those that came back, milliseconds, ascending; empty where nobody did. The list changes with the next pause. */
  readonly pausesMs: readonly number[];
}

class Pauses {
  ended = 0;
  returned = 0;
  private reusedShare = 0;
  private readonly ring: number[] = [];
  /** The same, ascending. */
  private readonly sorted: number[] = [];

  add(pauseMs: number, reusedShare: number): void {
    this.reusedShare += (reusedShare - this.reusedShare) / Math.min(WINDOW, this.returned + 1);
    const { ring, sorted } = this;
    const place = this.returned % WINDOW;
    if (this.returned >= WINDOW) sorted.splice(sorted.indexOf(ring[place]!), 1);
    ring[place] = pauseMs;
    const above = sorted.findIndex((other) => other > pauseMs);
    sorted.splice(above < 0 ? sorted.length : above, 0, pauseMs);
    this.returned += 1;
  }

  times(): ReturnTimes | undefined {
    if (this.returned < MIN_SAMPLES && this.ended < MIN_ENDED) return undefined;
    return { chance: Math.min(1, this.returned / this.ended), reusedShare: this.reusedShare, pausesMs: this.sorted };
  }
}

/**
 * Learns how long agents pause between two calls (a tool, or other agents, work meanwhile) and how much of their context they bring back, by the template and role of the call
 * before the pause and whether it called a tool.
 */
export class ReturnHistory {
  private readonly kinds = new LruMap<string, Pauses>(MAX_KINDS);
  private readonly all = new Pauses();

  /** Notes the end of a stage; the key stands for its kind until {@link returned}. */
  ended(stage: Stage, toolCalled: boolean | undefined): string {
    const kind = KIND.of(stage.template, stage.role, toolCalled === undefined ? '' : String(toolCalled));
    const pauses = this.kinds.get(kind) ?? new Pauses();
    this.kinds.set(kind, pauses);
    pauses.ended += 1;
    this.all.ended += 1;
    return kind;
  }

  returned(kind: string, pauseMs: number, reusedShare: number): void {
    this.kinds.get(kind)?.add(pauseMs, reusedShare);
    this.all.add(pauseMs, reusedShare);
  }

  /** Undefined as long as too little has been seen. */
  times(kind: string): ReturnTimes | undefined {
    return this.kinds.peek(kind)?.times() ?? this.all.times();
  }
}

const KIND = new KeyMemo((template, role, toolCalled) => `${template}\n${role}\n${toolCalled}`);
