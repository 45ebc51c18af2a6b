import type { Engine, EngineEvent, EngineStats } from '../../src/engine/batch-types.js';
import { newEngine } from '../../src/engine/new-engine.js';
import { stepShapeOf } from '../../src/engine/step-shape.js';
import { clear } from '../../src/model/clear.js';
import type { EngineSpec } from '../../src/model/fleet.js';
import { DEFAULT_BLOCK_TOKENS } from '../../src/model/memory.js';
import type { EventLoop, Scheduled } from '../event-loop.js';

/** What an engine is asked to do. */
export interface EngineWork {
  readonly stageId: string;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly priority: number;
  readonly blockHashes: readonly (string | number)[];
  /** Of its data-parallel ranks, the one that is to do it; undefined where it chooses. */
  readonly rank?: number | undefined;
}

export interface EngineListener {
  firstToken(stageId: string, cachedTokens: number): void;
  finished(stageId: string, outputTokens: number, cachedTokens: number): void;
}

/** One vLLM server in virtual time: the batching model, woken only when something happens in it. */
export class SimEngine {
  private engine: Engine;
  private timer: Scheduled | undefined;
  private timerMs = Number.POSITIVE_INFINITY;
  private dirty = false;
  private readonly events: EngineEvent[] = [];
  private readonly lookUp = () => {
    this.dirty = false;
    this.setTimer();
  };
  private readonly timerFires = () => {
    this.timerMs = Number.POSITIVE_INFINITY;
    this.advance();
    this.reschedule();
  };

  constructor(
    readonly spec: EngineSpec,
    private readonly loop: EventLoop,
    private readonly listener: EngineListener,
  ) {
    this.engine = engineOf(spec);
  }

  add(work: EngineWork): void {
    const { nowMs } = this.loop;
    const { stageId, promptTokens, outputTokens, priority, blockHashes, rank } = work;
    this.engine.add({ id: stageId, promptTokens, outputTokens, priority, blockHashes, rank, arrivalMs: nowMs }, nowMs);
    this.reschedule();
  }

  abort(stageId: string): void {
    if (this.engine.abort(stageId, this.loop.nowMs)) this.reschedule();
  }

  /** The process has died and starts anew: nothing of what it did is left. */
  restart(): void {
    this.loop.cancel(this.timer);
    this.timerMs = Number.POSITIVE_INFINITY;
    this.engine = engineOf(this.spec);
  }

  /** Elastic KV: it may hold so many tokens. */
  limitKv(tokens: number): void {
    this.advance();
    this.engine.setKvLimitBlocks(Math.floor(tokens / ranksOf(this.spec) / DEFAULT_BLOCK_TOKENS));
    this.reschedule();
  }

  /** Its KV memory is given back: the prefix cache is lost. Nothing runs when a node puts it to sleep. */
  forgetCache(): void {
    this.engine.resetPrefixCache(true);
  }

  /** The counters and gauges of each rank, as of the last {@link stats}. */
  rankStats(): readonly EngineStats[] {
    return this.engine.rankStats();
  }

  /** Brings it to now and returns its counters and gauges. */
  stats(): EngineStats {
    this.advance();
    return this.engine.stats();
  }

  /** Requests that come at one moment join the same step, so the next event is looked up when all of them are there. */
  private reschedule(): void {
    if (this.dirty) return;
    this.dirty = true;
    this.loop.soon(this.lookUp);
  }

  private setTimer(): void {
    const nextMs = this.engine.nextEventMs();
    if (nextMs === this.timerMs) return;
    this.timerMs = nextMs;
    if (nextMs === Number.POSITIVE_INFINITY) this.loop.cancel(this.timer);
    else if (this.timer) this.loop.move(this.timer, nextMs);
    else this.timer = this.loop.at(nextMs, this.timerFires);
  }

  private advance(): void {
    const { events, listener } = this;
    this.engine.advance(this.loop.nowMs, events);
    for (const event of events) {
      if (event.kind === 'first-token') listener.firstToken(event.id, event.cachedTokens);
      else if (event.kind === 'finished') listener.finished(event.id, event.outputTokens, event.cachedTokens);
    }
    clear(events);
  }
}

function engineOf(spec: EngineSpec): Engine {
  const shape = stepShapeOf(spec);
  if (!shape) throw new Error(`simulated engine ${spec.engineId} needs a model and a GPU of the catalogues`);
  const ranks = ranksOf(spec);
  return newEngine({
    ...shape,
    maxNumSeqs: spec.maxNumSeqs / ranks,
    maxModelLen: spec.maxModelLen,
    numGpuBlocks: Math.floor(spec.kvPoolTokens / ranks / DEFAULT_BLOCK_TOKENS),
    schedulingPolicy: 'priority',
  });
}

function ranksOf({ dataParallel = 1 }: EngineSpec): number {
  return dataParallel;
}
