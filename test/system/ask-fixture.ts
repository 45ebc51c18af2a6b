import type { Served } from '../../src/cli/serve.js';

/** One short chat completion of a running `maestro up`, with further fields of its body. */
export async function ask(served: Served, more: object = {}): Promise<Response> {
  return fetch(`${served.address}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      ...{ model: 'llama-3.1-8b', max_tokens: 4, messages: [{ role: 'user', content: 'hello' }], ...more },
    }),
  });
}
