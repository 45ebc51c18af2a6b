import type { Clock, Timer } from '../../model/clock.js';
import type { Engine, EngineEvent, EngineStats } from '../batch-types.js';
import type { FaultPlan } from './faults.js';
import type { KvEventPublisher } from './kv-events/publisher.js';
import type { VllmMetrics } from './metrics.js';

/** One sequence inside the engine: a choice of a response. */
export interface LiveSequence {
  /** Unique inside the engine. */
  readonly engineId: string;
  /** The id under which /abort_requests knows it. */
  readonly externalId: string;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly maxTokens: number;
  readonly priority: number;
  readonly blockHashes: readonly (string | number)[];
  readonly promptIds?: Uint32Array;
  readonly salt: string | undefined;
  /** The LoRA adapter that it is for: its KV blocks are nobody else's. */
  readonly adapter?: string | undefined;
  /** Is it written while it grows? */
  readonly flows: boolean;
  readonly arrivalMs: number;
  tokens: number;
  cachedTokens: number;
  queueMs: number;
  /** The data-parallel rank that computes it, where there are several; before its first token the one that was asked for. */
  rank?: number | undefined;
  firstTokenMs: number | undefined;
  endMs: number | undefined;
  readonly listener: SequenceListener;
}

/** `abort`: sleep or pause ended it; `abort-by-id`: /abort_requests did, which vLLM's counters do not show. */
export type EndKind = 'own-end' | 'abort' | 'abort-by-id';

/** Who hears of a sequence. Exactly one of the last two is called, unless the sequence is withdrawn. */
export interface SequenceListener {
  /** The front end has let it through; may be said twice. Not called for one that ends before. */
  queued(sequence: LiveSequence): void;
  /** Tokens have come; `sequence.tokens` says how many there are. */
  progressed(sequence: LiveSequence): void;
  ended(sequence: LiveSequence, how: EndKind): void;
  failed(sequence: LiveSequence, how: 'cut' | 'error'): void;
}

export interface EngineLoopConfig {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly metrics: VllmMetrics;
  readonly faults: FaultPlan;
  /** Streams are written at most once in this time, on the clock. */
  readonly tickMs: number;
  readonly kvEvents?: KvEventPublisher | undefined;
  /** The fault that ends the whole process has struck. */
  onDeath(how: 'cut' | 'error'): void;
}

/**
 * Runs a modelled engine on a clock. It sleeps until the next event or, while something streams, until the next step that is at
 * least a tick after the last writing; tokens that fell due in between come out together.
 */
export class EngineLoop {
  private readonly engine: Engine;
  private readonly clock: Clock;
  private readonly sequences = new Map<string, LiveSequence>();
  /** Sequences that are written while they grow and have had their first token. */
  private readonly flowing = new Set<LiveSequence>();
  private readonly idleWaiters: (() => void)[] = [];
  private readonly events: EngineEvent[] = [];
  private timer: Timer | undefined;
  private lastTickMs = Number.NEGATIVE_INFINITY;
  private lastSteps = 0;
  /** While stalled, engine time stands still; afterwards it lags behind the clock by `lagMs`. */
  private stalledAtMs: number | undefined;
  private lagMs = 0;
  private dead = false;

  constructor(private readonly config: EngineLoopConfig) {
    this.engine = config.engine;
    this.clock = config.clock;
    config.metrics.report(this.engine.rankStats());
  }

  /** Engine time. */
  nowMs(): number {
    return (this.stalledAtMs ?? this.clock.nowMs()) - this.lagMs;
  }

  get size(): number {
    return this.sequences.size;
  }

  /** Prompt tokens of what has no output yet. */
  get prefillTokens(): number {
    let tokens = 0;
    for (const { promptTokens, firstTokenMs } of this.sequences.values())
      if (firstTokenMs === undefined) tokens += promptTokens;
    return tokens;
  }

  submit(sequence: LiveSequence): void {
    const nowMs = this.nowMs();
    this.sequences.set(sequence.engineId, sequence);
    if (sequence.promptIds) this.config.kvEvents?.expect(sequence.blockHashes, sequence.salt, sequence.promptIds);
    this.engine.add(
      {
        id: sequence.engineId,
        promptTokens: sequence.promptTokens,
        outputTokens: sequence.outputTokens,
        priority: sequence.priority,
        arrivalMs: sequence.arrivalMs,
        blockHashes: sequence.blockHashes,
        ...saltOf(sequence),
        rank: sequence.rank,
      },
      nowMs,
    );
    // The front end is a process of its own: it works on while the engine hangs.
    if (this.stalledAtMs !== undefined) sequence.listener.queued(sequence);
    this.reschedule();
  }

  /** Takes a sequence out without a word to its listener: its client has gone. */
  withdraw(sequence: LiveSequence): void {
    if (!this.sequences.delete(sequence.engineId)) return;
    this.flowing.delete(sequence);
    this.engine.abort(sequence.engineId, this.nowMs());
    this.step(true);
  }

  /** Ends sequences by the ids that clients know; with none, all of them. */
  abort(externalIds: readonly string[]): void {
    this.step();
    const wanted = new Set(externalIds);
    for (const sequence of [...this.sequences.values()]) {
      if (wanted.size > 0 && !wanted.has(sequence.externalId)) continue;
      sequence.tokens = this.engine.generatedTokens(sequence.engineId);
      this.sequences.delete(sequence.engineId);
      this.flowing.delete(sequence);
      this.engine.abort(sequence.engineId, this.nowMs());
      sequence.endMs = this.nowMs();
      sequence.listener.ended(sequence, 'abort-by-id');
    }
    this.step(true);
  }

  pause(mode: 'abort' | 'wait' | 'keep', clearCache: boolean): void {
    this.step();
    this.engine.pause(mode, clearCache, this.nowMs(), this.events);
    this.dispatch();
    if (mode === 'abort') this.report();
    this.reschedule();
  }

  sleepKv(): void {
    this.step();
    this.engine.sleepKv(this.nowMs(), this.events);
    this.dispatch();
    this.reschedule();
  }

  resume(): void {
    this.step();
    this.engine.resume(this.nowMs());
    this.reschedule();
  }

  get paused(): boolean {
    return this.engine.paused !== 'no';
  }

  /** Resolves when nothing runs; what waits does not count. */
  whenIdle(): Promise<void> {
    return new Promise((resolve) => {
      this.idleWaiters.push(resolve);
      this.step();
    });
  }

  /** Elastic KV: sequences may hold at most so many blocks from now on. */
  limitKv(blocks: number): void {
    this.step();
    this.engine.setKvLimitBlocks(blocks);
    this.reschedule();
  }

  resetPrefixCache(resetRunning: boolean): boolean {
    this.step();
    const done = this.engine.resetPrefixCache(resetRunning);
    this.reschedule();
    return done;
  }

  stats(): EngineStats {
    this.step();
    return this.engine.stats();
  }

  /** The worker hangs: nothing comes any more, and nothing tells. */
  stall(): void {
    if (this.stalledAtMs !== undefined) return;
    this.step();
    this.stalledAtMs = this.clock.nowMs();
    this.timer?.cancel();
    for (const sequence of this.sequences.values()) sequence.listener.queued(sequence);
  }

  unstall(): void {
    if (this.stalledAtMs === undefined) return;
    this.lagMs += this.clock.nowMs() - this.stalledAtMs;
    this.stalledAtMs = undefined;
    this.reschedule();
  }

  /** The engine process is gone: every sequence fails. */
  die(how: 'cut' | 'error'): void {
    this.dead = true;
    this.timer?.cancel();
    const all = [...this.sequences.values()];
    this.sequences.clear();
    this.flowing.clear();
    for (const sequence of all) sequence.listener.failed(sequence, how);
  }

  /** Brings the engine to now and passes on what has happened. */
  step(report = false): void {
    if (this.dead) return;
    const nowMs = this.nowMs();
    this.engine.advance(nowMs, this.events);
    this.dispatch();
    if (this.flowing.size > 0 && nowMs - this.lastTickMs >= this.config.tickMs * 0.99) this.flow(nowMs);
    const { steps, running } = this.engine.stats();
    if (steps !== this.lastSteps) this.config.kvEvents?.stepped(Date.now() / 1000);
    if (report || steps !== this.lastSteps) this.report();
    if (running === 0) for (const resolve of this.idleWaiters.splice(0)) resolve();
    this.reschedule();
  }

  private report(): void {
    const ranks = this.engine.rankStats();
    this.lastSteps = ranks.reduce((sum, { steps }) => sum + steps, 0);
    this.config.metrics.report(ranks);
  }

  private reschedule(): void {
    this.timer?.cancel();
    this.timer = undefined;
    if (this.dead || this.stalledAtMs !== undefined) return;
    let dueMs = this.engine.nextEventMs();
    if (this.flowing.size > 0) {
      dueMs = Math.min(dueMs, Math.max(this.engine.nextStepMs(), this.lastTickMs + this.config.tickMs));
    }
    if (dueMs === Number.POSITIVE_INFINITY) return;
    this.timer = this.clock.after(dueMs - this.nowMs(), () => this.step());
  }

  /** Writes what has grown since the last tick. */
  private flow(nowMs: number): void {
    this.lastTickMs = nowMs;
    for (const sequence of this.flowing) this.grow(sequence, this.engine.generatedTokens(sequence.engineId));
  }

  private grow(sequence: LiveSequence, tokens: number): void {
    if (tokens <= sequence.tokens || !this.sequences.has(sequence.engineId)) return;
    const struck = this.config.faults.strikes(tokens);
    sequence.tokens = struck ? Math.max(sequence.tokens, struck.atTokens) : tokens;
    if (sequence.tokens > 0 || !struck) sequence.listener.progressed(sequence);
    if (!struck) return;
    if (struck.scope === 'process') {
      this.config.onDeath(struck.how);
      return;
    }
    this.sequences.delete(sequence.engineId);
    this.flowing.delete(sequence);
    this.engine.abort(sequence.engineId, this.nowMs());
    sequence.listener.failed(sequence, struck.how);
  }

  private dispatch(): void {
    const events = this.events.splice(0);
    for (const event of events) {
      const sequence = this.sequences.get(event.id);
      if (!sequence) continue;
      switch (event.kind) {
        case 'queued':
          sequence.listener.queued(sequence);
          break;
        case 'first-token':
          // One that was preempted before its end keeps the times of its first run.
          if (sequence.firstTokenMs !== undefined) break;
          sequence.cachedTokens = event.cachedTokens;
          sequence.queueMs = event.queueMs;
          sequence.firstTokenMs = event.atMs;
          sequence.rank = event.rank;
          this.config.metrics.firstToken(event.atMs - sequence.arrivalMs, event.rank);
          if (sequence.flows) this.flowing.add(sequence);
          this.grow(sequence, Math.max(1, this.engine.generatedTokens(sequence.engineId)));
          break;
        case 'finished':
          sequence.endMs = event.atMs;
          this.grow(sequence, event.outputTokens);
          this.end(sequence, 'own-end');
          break;
        case 'aborted':
          sequence.endMs = event.atMs;
          sequence.tokens = Math.max(sequence.tokens, event.outputTokens);
          this.end(sequence, 'abort');
          break;
        case 'preempted':
          break;
      }
    }
  }

  private end(sequence: LiveSequence, how: EndKind): void {
    if (!this.sequences.delete(sequence.engineId)) return;
    this.flowing.delete(sequence);
    sequence.listener.ended(sequence, how);
  }
}

/** What keeps its blocks apart from others of the same tokens in the engine's cache. */
function saltOf({ salt, adapter }: LiveSequence): { readonly salt?: string } {
  if (adapter !== undefined) return { salt: `${adapter}\n${salt ?? ''}` };
  return salt === undefined ? {} : { salt };
}
