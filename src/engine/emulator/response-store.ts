import type { StoredConversation } from './responses-request.js';
import type { ChatMessage } from './tokens.js';

/** Responses kept at most; vLLM keeps all, for ever. */
const KEPT = 1_000;

interface StoredResponse {
  readonly messages: readonly ChatMessage[];
  body: string | undefined;
}

/** What /v1/responses remembers with VLLM_ENABLE_RESPONSES_API_STORE=1: answers that were not streamed, by id. */
export class ResponseStore implements StoredConversation {
  private readonly responses = new Map<string, StoredResponse>();

  constructor(readonly enabled: boolean) {}

  keep(id: string, messages: readonly ChatMessage[], body: string): void {
    if (this.responses.size >= KEPT) this.responses.delete(this.responses.keys().next().value!);
    const text = (JSON.parse(body) as { output: { content?: { text: string }[] }[] }).output
      .flatMap(({ content }) => content ?? [])
      .map((part) => part.text)
      .join('');
    this.responses.set(id, { messages: [...messages, { role: 'assistant', content: text }], body });
  }

  body(id: string): string | undefined {
    return this.responses.get(id)?.body;
  }

  messages(id: string): readonly ChatMessage[] | undefined {
    return this.responses.get(id)?.messages;
  }
}
