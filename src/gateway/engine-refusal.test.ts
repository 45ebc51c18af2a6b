import { describe, expect, it } from 'vitest';
import { refusalAnswer } from './engine-refusal.js';

describe('what an engine refuses', () => {
  it.each(['openai', 'anthropic'] as const)(
    'says of an endpoint that it does not have why that is so (%s)',
    (dialect) => {
      // What vLLM answers to /v1/embeddings in front of a model that generates text, and the other way round.
      const { kind, passed } = refusalAnswer(404, {}, Buffer.from('{"detail":"Not Found"}'), dialect);
      expect(kind).toBe('rejected');
      expect(JSON.parse(passed!.body.toString()).error.message).toBe(
        'The engine of this model does not serve this endpoint: embeddings need an embedding model, the others one that generates text, and a release of vLLM that has them.',
      );
    },
  );

  it.each([
    [404, '{"detail":"No such thing"}', 'The engine refused the request: No such thing'],
    [400, '{"detail":"Not Found"}', 'The engine refused the request: Not Found'],
  ])('repeats any other explanation: %i %s', (status, body, message) => {
    const { passed } = refusalAnswer(status, {}, Buffer.from(body));
    expect(JSON.parse(passed!.body.toString()).error.message).toBe(message);
  });
});
