import { DEFAULT_BLOCK_TOKENS } from '../model/memory.js';

/** What an engine told of its KV memory, at one moment. */
export interface KvReading {
  /** Tokens of its pool that are in use. */
  readonly inUseTokens: number;
  /** Sequences that it computes. */
  readonly running: number;
  /** Tokens that it has written since the start of its process; undefined where it does not count them. */
  readonly generatedTokens: number | undefined;
}

/** Engines are read once or twice a second. What was written between readings further apart says nothing of the time to the next, and a reading that is older says nothing of now. */
const LONGEST_GAP_MS = 2_000;
/** Sequences write faster once others have ended: so much more is held for the time to the next reading. Of 1, 1.25 and 1.5 the least that serves (simulated runs of `coding`). */
const FASTER = 1.25;
/** A sequence that has begun since the reading before has hardly written: its pace is taken for this much of what it was at that reading, if that is more. */
const PACE_KEPT = 0.9;

/**
 * What an engine will have in use when it is read next, by its own gauge. To hold what it had when it was read last would be a reading late, each time, for as long as a call runs that
 * has outgrown its bound.
 */
export class KvInUse {
  /** At the last reading, as it was; 0 before the first. */
  seenTokens = 0;
  /** At most so many until the next reading, with what has been let in and has ended since; 0 before the first. */
  tokens = 0;
  /** Counts readings: who was let in since the last one is not in it. */
  readings = 0;
  /** What is written until the next reading, a part of {@link tokens}: as fast as before, a quarter more, and a block for each sequence. */
  private growthTokens = 0;
  /** The same as fast as before, and no more: of many sequences some write while others end. */
  nextTokens = 0;
  /** What was written between the last two readings; 0 where that is not known. */
  writtenTokens = 0;
  /** Tokens that a sequence writes in a millisecond, and how long after the one before it a reading comes. */
  private pace = 0;
  private gapMs = LONGEST_GAP_MS / 2;
  private previous: (KvReading & { readonly atMs: number }) | undefined;

  /** @param pendingTokens Bounds of calls whose prompts may not be in memory yet, so that the reading lacks them. */
  read(reading: KvReading, pendingTokens: number, nowMs: number): void {
    const { inUseTokens, running } = reading;
    this.writtenTokens = this.writtenBy(reading, nowMs);
    // A call may have outgrown its bound while others begin: what was known of it still holds.
    const known = Math.min(this.tokens - this.growthTokens + this.writtenTokens, inUseTokens + pendingTokens);
    this.growthTokens = running * (DEFAULT_BLOCK_TOKENS + Math.ceil(FASTER * this.pace * this.gapMs));
    this.nextTokens = running * this.pace * this.gapMs;
    this.tokens = this.growthTokens + Math.max(inUseTokens, known);
    this.seenTokens = inUseTokens;
    this.readings += 1;
    this.previous = { ...reading, atMs: nowMs };
  }

  /** A call is let in that will take no more than this. */
  granted(boundTokens: number): void {
    if (this.readings > 0) this.tokens += boundTokens;
  }

  /** A call has ended that was let in when {@link readings} was `since`. */
  ended(boundTokens: number, tookTokens: number, since: number, nowMs: number): void {
    if (this.previous && nowMs - this.previous.atMs > LONGEST_GAP_MS) {
      this.empty();
      return;
    }
    this.tokens = Math.max(0, this.tokens - (since === this.readings ? boundTokens : tookTokens));
  }

  /** Nothing of ours is in the engine. */
  empty(): void {
    this.seenTokens = 0;
    this.tokens = 0;
    this.growthTokens = 0;
    this.nextTokens = 0;
  }

  /** The process is another one. */
  restarted(): void {
    this.empty();
    this.readings = 0;
    this.pace = 0;
    this.previous = undefined;
  }

  /** Tokens that were written since the reading before, by which the pace is known. */
  private writtenBy({ generatedTokens, running }: KvReading, nowMs: number): number {
    const { previous } = this;
    if (previous?.generatedTokens === undefined || generatedTokens === undefined) return 0;
    const gapMs = nowMs - previous.atMs;
    if (gapMs <= 0 || gapMs > LONGEST_GAP_MS) return 0;
    const written = Math.max(0, generatedTokens - previous.generatedTokens);
    const sequences = Math.max(1, (running + previous.running) / 2);
    this.gapMs = gapMs;
    if (running > 0) this.pace = Math.max(written / (sequences * gapMs), PACE_KEPT * this.pace);
    return written;
  }
}
