import { describe, expect, it } from 'vitest';
import { matchRoute } from './routes.js';

/** Route name, or why there is none. */
function outcome(method: string, target: string): string {
  const match = matchRoute(method, target);
  if (match.kind !== 'route') return match.kind;
  const name = match.route.kind === 'stored' ? `stored ${match.route.action}` : match.route.name;
  return `${name}${match.parameter && ` ${match.parameter}`}`;
}

describe('matchRoute', () => {
  it.each([
    ['POST', '/v1/chat/completions', 'chat'],
    ['POST', '/v1/chat/completions?api-version=1', 'chat'],
    ['POST', '/v1/completions', 'completions'],
    ['POST', '/v1/embeddings', 'embeddings'],
    ['GET', '/v1/models', 'models'],
    ['HEAD', '/v1/models', 'models'],
    ['GET', '/v1/models/org/name-1.5', 'model org/name-1.5'],
    ['GET', '/v1/models/org%2Fname', 'model org/name'],
    ['GET', '/v1/maestro/requests/req-1', 'explain req-1'],
    ['GET', '/v1/maestro/fleet', 'fleet'],
    ['GET', '/', 'page'],
    ['HEAD', '/live.js?x', 'page'],
    ['POST', '/', 'method-not-allowed'],
    ['GET', '/v1/responses/resp_1', 'stored get resp_1'],
    ['GET', '/v1/responses/resp_1?stream=true', 'stored get resp_1'],
    ['POST', '/v1/responses/resp_1/cancel', 'stored cancel resp_1'],
    ['POST', '/v1/responses/resp_1', 'method-not-allowed'],
    ['GET', '/v1/responses/resp_1/input_items', 'not-found'],
    ['GET', '/v1/responses/../x', 'not-found'],
    ['GET', '/v1/chat/completions', 'method-not-allowed'],
    ['PUT', '/health', 'method-not-allowed'],
    ['OPTIONS', '/v1/models', 'method-not-allowed'],
    ['POST', '/w/run/v1/chat/completions', 'chat'],
    ['POST', '/w/run/a/agent/v1/chat/completions', 'chat'],
    ['POST', '/w/a%20b/v1/embeddings', 'embeddings'],
  ])('%s %s is %s', (method, target, expected) => {
    expect(outcome(method, target)).toBe(expected);
  });

  it('takes the identity out of the path', () => {
    expect(matchRoute('POST', '/w/run%201/a/web-surfer/v1/chat/completions')).toMatchObject({
      identity: { workflow: 'run 1', agent: 'web-surfer' },
    });
  });

  it.each([
    '/index.html',
    '',
    '*',
    '//v1/models',
    '/v1//models',
    '/v1/models/',
    '/v1/./models',
    '/v1/../v1/models',
    '/v1/models/..',
    '/v1/models/../../sleep',
    '/v1/models/%2e%2e/x',
    '/v1/models/a//b',
    '/v1/models/%zz',
    '/v1/models/a%00b',
    '/v1/%6dodels',
    '/V1/models',
    '/v1/maestro/requests/a/b',
    '/v1/maestro/requests/a%2Fb',
    'http://host/v1/models',
    '/w/v1/models',
    '/w//v1/models',
    '/w/run/health',
    '/w/run/metrics',
    '/w/a%2F..%2Fb"/v1/models',
    '/w/run/a//v1/models',
    '/w/run/w/run/v1/models',
  ])('%j is nothing', (target) => {
    expect(outcome('GET', target)).toBe('not-found');
  });

  // Every other endpoint of vLLM 0.29: some steer the engine, some have no key of their own.
  it.each(
    '/invocations /pooling /score /rerank /v1/score /v1/rerank /pause /resume /sleep /wake_up /is_sleeping /update_weights /scale_elastic_ep /tokenize /detokenize /load /version /ping /collective_rpc /reset_prefix_cache /server_info /abort_requests /v1/responses/resp_1/input_items /v1/messages/batches /v1/load_lora_adapter /inference/v1/generate /openapi.json /docs'.split(
      ' ',
    ),
  )('%s of the engine cannot be reached', (path) => {
    for (const method of ['GET', 'POST']) expect(outcome(method, path)).toBe('not-found');
  });
});
