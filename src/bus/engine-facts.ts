import { enginePoolTokensOf } from '../global/retention/retention.js';
import { kvPoolTokensOf } from '../global/working-set.js';
import type { EngineSpec } from '../model/fleet.js';
import { type KvMemory, kvMemories } from '../model/kv-memory.js';

/**
 * What is known of the engines of each model now, for the global level and the predictor: of a server that is found by its URL nothing until it has answered, and of any other what it says itself.
 * The maps are filled anew whenever that changes, so whoever holds one sees it.
 */
export class EngineFacts {
  /** KV memory of one engine of a model, tokens. */
  readonly enginePoolTokens = new Map<string, number>();
  /** KV memory of all engines of a model together, tokens. */
  readonly modelPoolTokens = new Map<string, number>();
  private memories: (model: string) => KvMemory | undefined = () => undefined;

  constructor(engines: readonly EngineSpec[]) {
    this.learn(engines);
  }

  /** What a context takes on the engines of a model, where they are known. */
  readonly kvMemory = (model: string): KvMemory | undefined => this.memories(model);

  learn(engines: readonly EngineSpec[]): void {
    refill(this.enginePoolTokens, enginePoolTokensOf(engines));
    refill(this.modelPoolTokens, kvPoolTokensOf(engines));
    this.memories = kvMemories(engines);
  }
}

function refill(map: Map<string, number>, entries: ReadonlyMap<string, number>): void {
  map.clear();
  for (const [key, value] of entries) map.set(key, value);
}
