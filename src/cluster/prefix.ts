import { LruMap } from '../model/lru-map.js';
import { type Stage, sessionOf } from '../model/stage.js';
import type { EngineRecord } from './engine-record.js';
import { RecentMap } from './recent-map.js';

/** An engine that had the prefix, valid while the engine has not lost its cache. */
interface Holder {
  readonly engine: EngineRecord;
  generation: number;
}

interface LastCall extends Holder {
  readonly promptTokens: number;
}

/** Engines remembered for one prefix; a hot system prompt is on all of them, and four are enough to choose from. */
const MAX_HOLDERS = 4;
/** The longest prefixes of a prompt are what its workflow's next call continues; of shorter ones every doubling is kept. */
const LEARNED_TAIL = 8;

const NONE_CACHED: ReadonlyMap<EngineRecord, number> = new Map();

export interface PrefixLimits {
  readonly maxPrefixes: number;
  readonly maxWorkflows: number;
}

/**
 * Which engines probably have the beginning of a prompt in their prefix cache, learned from where stages went. A guess: engines
 * do not tell what they evict, so that old entries are simply forgotten. Where a stage has no prefix hashes, the engine of the
 * last call of the same role in the same workflow stands in for them.
 */
export class PrefixIndex {
  private readonly holders: RecentMap<string, Holder[]>;
  private readonly lastCalls: LruMap<string, LastCall>;

  constructor(limits: PrefixLimits) {
    this.holders = new RecentMap(limits.maxPrefixes);
    this.lastCalls = new LruMap(limits.maxWorkflows);
  }

  /** Expected cached prompt tokens by engine, of at most a few engines. */
  cachedTokens(stage: Stage): ReadonlyMap<EngineRecord, number> {
    const { prefixHashes, promptTokens, model } = stage;
    const hashes = prefixHashes.length;
    if (hashes === 0) return this.lastEngine(stage);
    const cached = new Map<EngineRecord, number>();
    let index = hashes - 1;
    while (index >= 0 && cached.size < MAX_HOLDERS) {
      const holders = this.holders.get(prefixHashes[index]!);
      if (!holders) {
        index -= 1;
        continue;
      }
      for (const holder of holders) {
        if (!isValid(holder, model) || cached.has(holder.engine)) continue;
        cached.set(holder.engine, Math.floor((promptTokens * (index + 1)) / hashes));
      }
      // The engines of the longest known prefix are found; of who has a shorter one, the nearest halving is exact enough.
      index = (index - 1) >> 1;
    }
    return cached;
  }

  /** The stage runs on the engine, whose cache will hold its prompt. */
  learn(stage: Stage, engine: EngineRecord): void {
    const { prefixHashes, finalStage, promptTokens } = stage;
    for (let index = 0; index < prefixHashes.length; index = nextLearned(index, prefixHashes.length)) {
      this.learnPrefix(prefixHashes[index]!, engine);
    }
    if (finalStage || prefixHashes.length > 0) return;
    this.lastCalls.set(lastCallKey(stage), { engine, generation: engine.cacheGeneration, promptTokens });
  }

  private lastEngine(stage: Stage): ReadonlyMap<EngineRecord, number> {
    const last = this.lastCalls.get(lastCallKey(stage));
    if (!last || !isValid(last, stage.model)) return NONE_CACHED;
    return new Map([[last.engine, Math.min(stage.promptTokens, last.promptTokens)]]);
  }

  private learnPrefix(hash: string, engine: EngineRecord): void {
    const { cacheGeneration } = engine;
    const known = this.holders.get(hash) ?? [];
    const own = known.find((other) => other.engine === engine);
    if (own) own.generation = cacheGeneration;
    else {
      if (known.length === MAX_HOLDERS) known.shift();
      known.push({ engine, generation: cacheGeneration });
    }
    this.holders.set(hash, known);
  }
}

/** Index after `index` of the prefixes that are learned: 0, 1, 3, 7, … and then every one of the tail. */
function nextLearned(index: number, count: number): number {
  const doubled = 2 * index + 1;
  const tail = Math.max(0, count - LEARNED_TAIL);
  return index + 1 >= tail ? index + 1 : Math.min(doubled, tail);
}

function isValid(holder: Holder, model: string): boolean {
  return holder.generation === holder.engine.cacheGeneration && holder.engine.view.spec.model === model;
}

/** Whatever agent of the role it was: they share at least how their prompts begin. */
function lastCallKey(stage: Stage): string {
  const { workflowId, role, agent, model } = stage;
  return agent === undefined ? sessionOf(stage) : `${workflowId}\n${role}\n\n${model}`;
}
