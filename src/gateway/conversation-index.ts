import { LruMap } from '../model/lru-map.js';
import type { PromptHashes } from './prompt-hashes.js';
import { RollingHash, seeded } from './rolling-hash.js';

/** Longer conversations than this are not looked at: the search costs a hash over all their bytes. */
const MAX_MESSAGES = 2000;

/**
 * Recognises conversations by content: a request whose messages are those of an earlier request of the same tenant, then an
 * answer, then more, belongs to the same workflow. Used only where nothing else names one. Memory is bounded.
 */
export class ConversationIndex {
  private readonly workflows: LruMap<number, string>;
  /** The tenant that was asked for last, and its number. */
  private tenant = '';
  private tenantSeed = seedOf('');

  constructor(maxConversations: number) {
    this.workflows = new LruMap(maxConversations);
  }

  /**
   * The workflow that this request continues, or undefined; either way the request is remembered under it, or under `fallback`.
   * `isAssistant` tells whether a message is the model's own.
   */
  resolve(
    tenant: string,
    messageCount: number,
    hashes: PromptHashes,
    isAssistant: (messageIndex: number) => boolean,
    fallback: string,
  ): string | undefined {
    if (messageCount === 0 || messageCount > MAX_MESSAGES) return undefined;
    if (tenant !== this.tenant) {
      this.tenant = tenant;
      this.tenantSeed = seedOf(tenant);
    }
    const { tenantSeed } = this;
    const values = hashes.messages();
    const after = (count: number) => seeded(values[count - 1]!, tenantSeed);
    let found: string | undefined;
    for (let known = messageCount - 1; known >= 1 && found === undefined; known--) {
      const workflow = this.workflows.get(after(known));
      if (workflow !== undefined && isAssistant(known)) found = workflow;
    }
    this.workflows.set(after(messageCount), found ?? fallback);
    return found;
  }
}

function seedOf(tenant: string): number {
  const seed = new RollingHash();
  seed.updateText(tenant);
  return seed.value();
}
