import { LruMap } from '../model/lru-map.js';
import { RollingHash } from './rolling-hash.js';

/** Longer conversations than this are not looked at: the search costs a hash over all their bytes. */
const MAX_MESSAGES = 2000;

/**
 * Recognises conversations by content: a request whose messages are those of an earlier request of the same tenant, then an
 * answer, then more, belongs to the same workflow. Used only where nothing else names one. Memory is bounded.
 */
export class ConversationIndex {
  private readonly workflows: LruMap<number, string>;

  constructor(maxConversations: number) {
    this.workflows = new LruMap(maxConversations);
  }

  /**
   * The workflow that this request continues, or undefined; either way the request is remembered under it, or under `fallback`.
   * `messageOffsets` holds start and end of each message; `isAssistant` tells whether a message is the model's own.
   */
  resolve(
    tenant: string,
    body: Buffer,
    messageOffsets: readonly number[],
    isAssistant: (messageIndex: number) => boolean,
    fallback: string,
  ): string | undefined {
    const count = messageOffsets.length / 2;
    if (count === 0 || count > MAX_MESSAGES) return undefined;
    const hash = new RollingHash();
    hash.updateText(tenant);
    const valuesAfter: number[] = [];
    for (let index = 0; index < count; index++) {
      hash.update(body, messageOffsets[2 * index]!, messageOffsets[2 * index + 1]!);
      valuesAfter.push(hash.value());
    }
    let found: string | undefined;
    for (let known = count - 1; known >= 1 && found === undefined; known--) {
      const workflow = this.workflows.get(valuesAfter[known - 1]!);
      if (workflow !== undefined && isAssistant(known)) found = workflow;
    }
    this.workflows.set(valuesAfter[count - 1]!, found ?? fallback);
    return found;
  }
}
