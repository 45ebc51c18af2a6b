import { describe, expect, it } from 'vitest';
import { createLogger } from './log.js';
import { GatewayMetrics } from './metrics.js';

describe('GatewayMetrics', () => {
  const create = () => new GatewayMetrics({ routes: ['chat'], classes: ['interactive'], identitySources: ['none'] });

  it('balances', () => {
    const metrics = create();
    for (let index = 0; index < 3; index++) metrics.requestStarted();
    const ended = { route: 'chat', sloClass: 'interactive', durationMs: 1500, queueMs: 20, ttftMs: 300 };
    metrics.requestEnded({ ...ended, outcome: 'completed' });
    metrics.requestEnded({ ...ended, outcome: 'client_cancelled', queueMs: undefined, ttftMs: undefined });
    expect(metrics.ledger()).toMatchObject({
      started: 3,
      inFlight: 1,
      outcomes: { completed: 1, client_cancelled: 1, engine_failed: 0 },
    });
  });

  it('has a bounded number of series whatever callers send', async () => {
    const metrics = create();
    const series = async () => (await metrics.registry.metrics()).split('\n').length;
    const end = (name: string) => {
      metrics.requestStarted();
      metrics.identityResolved(name, false);
      metrics.requestEnded({ route: name, sloClass: name, outcome: 'completed', durationMs: 1, queueMs: 1, ttftMs: 1 });
    };
    end('one');
    const before = await series();
    for (let index = 0; index < 1000; index++) end(`name-${index}`);
    expect(await series()).toBe(before);
    expect(await metrics.registry.metrics()).toContain(
      'maestro_requests_total{route="other",outcome="completed",class="other"} 1001',
    );
  });

  it('times are in seconds', async () => {
    const metrics = create();
    metrics.requestStarted();
    metrics.requestEnded({
      route: 'chat',
      sloClass: 'interactive',
      outcome: 'completed',
      durationMs: 1500,
      queueMs: 20,
      ttftMs: 300,
    });
    const text = await metrics.registry.metrics();
    expect(text).toContain('maestro_request_duration_seconds_sum{route="chat",class="interactive"} 1.5');
    expect(text).toContain('maestro_ttft_seconds_sum{class="interactive"} 0.3');
    expect(text).toContain('maestro_queue_seconds_bucket{le="0.025",class="interactive"} 1');
  });
});

describe('createLogger', () => {
  it('drops secrets by field name and by pattern', () => {
    const lines: string[] = [];
    const logger = createLogger({ level: 'info', destination: { write: (line) => lines.push(line) } });
    logger.info({ headers: { authorization: 'Bearer canary-value', host: 'kept' }, key: 'canary-value' }, 'x');
    logger.warn({ err: new Error('refused: Bearer canary-value and sk-canary-value') }, 'y');
    logger.debug('not at this level');
    expect(lines).toHaveLength(2);
    expect(lines.join('')).toContain('kept');
    expect(lines.join('')).not.toContain('canary');
  });

  it('names levels and tells the time of day, as people and log stores read them', () => {
    const lines: string[] = [];
    const logger = createLogger({ level: 'info', destination: { write: (line) => lines.push(line) } });
    logger.warn('engine is down');
    expect(JSON.parse(lines[0]!)).toEqual({
      level: 'warn',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      msg: 'engine is down',
    });
  });

  it('takes no word that ends like a key for one', () => {
    const lines: string[] = [];
    const logger = createLogger({ level: 'info', destination: { write: (line) => lines.push(line) } });
    logger.info({ workflow: 'task-planner-17', path: '/data/disk-primary/x' }, 'risk-averse SK-canary-value');
    expect(lines[0]).toContain('"task-planner-17","path":"/data/disk-primary/x","msg":"risk-averse SK-[secret]"');
  });
});
