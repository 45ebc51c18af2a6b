import type { CandidateScore, EngineSpec } from '../../model/fleet.js';
import { ENGINE_SCORERS } from './registry.js';

/**
 * The score of one engine with what it is made of. Thousands are kept for explanations that hardly anybody asks for, so the terms are numbers in a row, in
 * the order of the scorers, and get their names when they are read.
 */
export class EngineScore implements CandidateScore {
  readonly engineId: string;
  readonly nodeId: string;
  readonly totalMs: number;

  constructor(
    { engineId, nodeId }: EngineSpec,
    readonly rank: number | undefined,
    private readonly delaysMs: readonly number[],
  ) {
    this.engineId = engineId;
    this.nodeId = nodeId;
    let totalMs = 0;
    for (const delayMs of delaysMs) totalMs += delayMs;
    this.totalMs = totalMs;
  }

  get terms(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.delaysMs.map((delayMs, index) => [ENGINE_SCORERS[index]!.name, delayMs]));
  }

  toJSON(): CandidateScore {
    const { engineId, nodeId, rank, totalMs, terms } = this;
    return { engineId, nodeId, ...(rank === undefined ? {} : { rank }), totalMs, terms };
  }
}
