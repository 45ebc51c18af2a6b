import { afterEach, describe, expect, it, vi } from 'vitest';
import { ManualClock } from '../../model/clock.js';
import { VllmClient } from './client.js';
import { FakeVllm } from './fake-vllm-fixture.js';
import { DEFAULT_MONITOR_CONFIG, EngineMonitor } from './monitor.js';
import { ProgressWatch } from './progress-watch.js';

const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

/** An event may take as long as a busy machine needs. */
const SOON = { timeout: 60_000, interval: 20 };

/** A monitor on a clock that moves by hand; `next` lets one more poll happen and waits for its report. */
async function watched(fake: FakeVllm, url: string, config = {}) {
  const clock = new ManualClock();
  const client = new VllmClient({ url });
  const log: string[] = [];
  const refusals: number[] = [];
  let outstanding = 0;
  const healthChecks = () => fake.requests.filter((request) => request === 'GET /health').length;
  const checksAtDown: number[] = [];
  const monitor = new EngineMonitor(
    client,
    clock,
    { ...DEFAULT_MONITOR_CONFIG, probeTimeoutMs: 50, canaryTimeoutMs: 50, ...config },
    {
      up: ({ level }) => log.push(`up ${level}`),
      down: (reason) => {
        log.push(`down ${reason}`);
        checksAtDown.push(healthChecks());
      },
      metrics: ({ waiting }) => log.push(`waiting ${waiting}`),
      outstanding: () => outstanding,
      refused: (forMs) => refusals.push(forMs),
      barred: (by) => log.push(`barred by ${by}`),
      several: () => log.push('several'),
      adapters: (names) => log.push(`adapters ${names.join(',')}`),
      absent: (message) => log.push(`absent: ${message.replace(/\d+/g, '#')}`),
    },
  );
  closers.push(
    () => monitor.stop(),
    () => client.close(),
    () => fake.stop(),
  );
  await monitor.start();
  const next = async (expected: string, deltaMs = 500) => {
    const before = log.length;
    await vi.waitFor(() => {
      clock.advance(deltaMs);
      expect(log.slice(before)).toContain(expected);
    }, SOON);
  };
  return {
    monitor,
    clock,
    log,
    refusals,
    next,
    healthChecks,
    checksAtDown,
    setOutstanding: (count: number) => (outstanding = count),
  };
}

describe('EngineMonitor', () => {
  it('tells when adapters of a server that is up come and go', async () => {
    const fake = new FakeVllm();
    const { log, next } = await watched(fake, await fake.start());
    fake.adapters = ['planner', 'critic'];
    await next('adapters planner,critic', 5_000);
    fake.adapters = [];
    await next('adapters ', 5_000);
    fake.adapters = [];
    await next('waiting 0', 20_000);
    expect(log.filter((entry) => entry.startsWith('adapters'))).toHaveLength(2);
  });

  it('tells of an adapter that is loaded again into a server that was restarted without it', async () => {
    const fake = new FakeVllm();
    const url = await fake.start();
    const { log, next } = await watched(fake, url);
    const { port } = fake;
    await fake.stop();
    await next('down refused');
    fake.adapters = [];
    await fake.start(port);
    await next('up 0', 250);
    fake.adapters = ['adapter'];
    await next('adapters adapter', 5_000);
    expect(log.filter((entry) => entry.startsWith('adapters'))).toHaveLength(1);
  });

  it('finds the engine, reads its counters, and finds it again after it was away', async () => {
    const fake = new FakeVllm();
    const url = await fake.start();
    const { log, next } = await watched(fake, url);
    expect(log).toEqual(['up 0']);
    fake.waiting = 3;
    await next('waiting 3');
    const { port } = fake;
    await fake.stop();
    await next('down refused');
    await fake.start(port);
    await next('up 0', 250);
  });

  it('says once that a server asks for an API key', async () => {
    const fake = new FakeVllm({ apiKey: 'k' });
    const { clock, log } = await watched(fake, await fake.start());
    const before = fake.requests.length;
    await vi.waitFor(() => {
      clock.advance(250);
      expect(fake.requests.length).toBeGreaterThan(before + 20);
    }, SOON);
    expect(log).toEqual(['barred by key']);
  });

  it('waits for a server that is away at the start', async () => {
    const fake = new FakeVllm();
    const url = await fake.start();
    const { port } = fake;
    await fake.stop();
    const { log, next } = await watched(fake, url);
    expect(log).toEqual(['absent: GET /health: connect ECONNREFUSED #.#.#.#:#']);
    await fake.start(port);
    await next('up 0', 250);
  });

  it('tells for how long nobody has listened, anew each time', async () => {
    const fake = new FakeVllm();
    const url = await fake.start();
    const { log, next, refusals, clock } = await watched(fake, url);
    const { port } = fake;
    const told = (from: number, leastMs: number) =>
      vi.waitFor(() => {
        clock.advance(250);
        expect(Math.max(...refusals.slice(from))).toBeGreaterThanOrEqual(leastMs);
      }, SOON);
    await fake.stop();
    await next('down refused');
    await told(0, 1_000);
    await fake.start(port);
    await vi.waitFor(() => {
      clock.advance(250);
      expect(log.filter((line) => line === 'up 0')).toHaveLength(2);
    }, SOON);
    const before = refusals.length;
    await fake.stop();
    await told(before, 500);
    expect(refusals[before]).toBe(0);
  });

  it('takes a refused engine out at once on the word of the data path', async () => {
    const fake = new FakeVllm();
    const { monitor, log } = await watched(fake, await fake.start());
    monitor.reportUnreachable(true);
    expect(log).toEqual(['up 0', 'down refused']);
  });

  it('takes one that cannot be reached out as well, but not for dead: it comes back, or is refused later', async () => {
    const fake = new FakeVllm();
    const { monitor, log, next } = await watched(fake, await fake.start());
    monitor.reportUnreachable(false);
    expect(log).toEqual(['up 0', 'down unresponsive']);
    await next('up 0', 250);
    monitor.reportUnreachable(false);
    await fake.stop();
    await next('down refused', 250);
  });

  it('takes an engine out after three missed probes, or at once when it says that it is unhealthy', async () => {
    const fake = new FakeVllm();
    const { log, next, healthChecks, checksAtDown } = await watched(fake, await fake.start());
    const before = healthChecks();
    fake.faults.set('/health', 'hang');
    await next('down unresponsive');
    expect(checksAtDown).toEqual([before + 3]);
    fake.faults.delete('/health');
    await next('up 0');
    fake.faults.set('/health', 503);
    await next('down unhealthy');
    expect(log.filter((line) => line.startsWith('down'))).toEqual(['down unresponsive', 'down unhealthy']);
  });

  it('looks again at once after a connection that broke: an engine that is dying is out without waiting for the next poll', async () => {
    const fake = new FakeVllm();
    const { clock, log, next } = await watched(fake, await fake.start(), { probeTimeoutMs: 20_000 });
    fake.faults.set('/health', 'cut');
    clock.advance(500);
    await next('down unresponsive', 0);
    expect(log.filter((line) => line.startsWith('down'))).toEqual(['down unresponsive']);
  });

  it('frees the memory of an engine that hung and then died', async () => {
    const fake = new FakeVllm();
    const { next } = await watched(fake, await fake.start());
    fake.faults.set('/health', 503);
    await next('down unhealthy');
    await fake.stop();
    await next('down refused');
  });

  it('says once that several servers answer in turn, and goes on with whichever does', async () => {
    const fake = new FakeVllm();
    const { log, next } = await watched(fake, await fake.start());
    const first = fake.startedAtSeconds;
    fake.startedAtSeconds = first + 100;
    await next('down refused');
    fake.startedAtSeconds = first;
    await next('several', 250);
    for (const after of [100, 0, 100]) {
      fake.startedAtSeconds = first + after;
      fake.waiting += 1;
      await next(`waiting ${fake.waiting}`);
    }
    expect(log.filter((line) => line.startsWith('down') || line === 'several')).toEqual(['down refused', 'several']);
  });

  it('notices that the process was replaced between two readings', async () => {
    const fake = new FakeVllm();
    const { next } = await watched(fake, await fake.start());
    fake.startedAtSeconds += 60;
    fake.level = 1;
    await next('down refused');
    await next('up 1');
  });

  it('takes a counter that has fallen for a new process, and not one that is missing', async () => {
    const fake = new FakeVllm();
    fake.page = 'vllm:generation_tokens_total 100\n';
    const { log, next } = await watched(fake, await fake.start());
    fake.page = 'vllm:num_requests_waiting 1\n';
    await next('waiting 1');
    fake.page = 'vllm:num_requests_waiting 2\nvllm:generation_tokens_total 120\n';
    await next('waiting 2');
    expect(log).not.toContain('down refused');
    fake.page = 'vllm:num_requests_waiting 3\n';
    await next('waiting 3');
    fake.page = 'vllm:generation_tokens_total 110\n';
    await next('down refused');
  });

  it('takes out an engine that holds work, moves no counter and generates nothing, until it generates again', async () => {
    const fake = new FakeVllm();
    const { next, log, setOutstanding } = await watched(fake, await fake.start(), { stallGraceMs: 2000 });
    setOutstanding(1);
    // A slow reader looks the same, but the engine generates.
    for (let poll = 0; poll < 8; poll++) await next('waiting 0');
    expect(fake.requests.some((line) => line.includes('/v1/completions'))).toBe(true);
    expect(log).not.toContain('down stalled');
    fake.faults.set('/v1/completions', 'hang');
    await next('down stalled');
    const { length } = fake.requests;
    // Health and models answer, but that is not enough now.
    await vi.waitFor(() => expect(fake.requests.length).toBeGreaterThan(length + 5), SOON);
    expect(log.at(-1)).toBe('down stalled');
    fake.faults.clear();
    await next('up 0');
  });
});

describe('an engine whose answers fail', () => {
  const fail = (monitor: EngineMonitor, times: number) => {
    for (let time = 0; time < times; time++) monitor.reportAnswer(false);
  };

  it('is taken out when it generates nothing either, although it says that it is well, and comes back when it generates', async () => {
    const fake = new FakeVllm();
    const { monitor, next, clock, log } = await watched(fake, await fake.start());
    fake.faults.set('/v1/completions', 503);
    fail(monitor, 5);
    await next('down failing');
    const { length } = fake.requests;
    await vi.waitFor(() => {
      clock.advance(250);
      expect(fake.requests.length).toBeGreaterThan(length + 5);
    }, SOON);
    expect(log.at(-1)).toBe('down failing');
    fake.faults.clear();
    await next('up 0', 250);
  });

  it('takes an engine that declines the canary for alive: one that embeds generates nothing', async () => {
    const fake = new FakeVllm();
    const { monitor, next, log } = await watched(fake, await fake.start());
    fake.faults.set('/v1/completions', 404);
    fail(monitor, 5);
    const canaries = () => fake.requests.filter((line) => line.includes('/v1/completions')).length;
    for (let poll = 0; poll < 3; poll++) await next('waiting 0');
    expect(canaries()).toBe(1);
    expect(log.filter((line) => line.startsWith('down'))).toEqual([]);
  });

  it('does not stay out for ever when a probe hangs: every try has its end', async () => {
    const fake = new FakeVllm();
    const { monitor, next, clock } = await watched(fake, await fake.start());
    fake.faults.set('/v1/completions', 'hang');
    fail(monitor, 5);
    await next('down failing');
    const canaries = () => fake.requests.filter((line) => line.includes('/v1/completions')).length;
    const before = canaries();
    await vi.waitFor(() => {
      clock.advance(250);
      expect(canaries()).toBeGreaterThan(before + 2);
    }, SOON);
    fake.faults.clear();
    await next('up 0', 250);
  });

  it('stays while it generates, while its counters move, and whatever failed before an answer', async () => {
    const fake = new FakeVllm();
    const { monitor, next, log } = await watched(fake, await fake.start());
    fail(monitor, 5);
    await next('waiting 0');
    fake.faults.set('/v1/completions', 503);
    fail(monitor, 4);
    monitor.reportAnswer(true);
    fail(monitor, 4);
    await next('waiting 0');
    await next('waiting 0');
    fail(monitor, 1);
    fake.generatedTokens += 10;
    for (let poll = 0; poll < 3; poll++) await next('waiting 0');
    expect(log.filter((line) => line.startsWith('down'))).toEqual([]);
  });
});

describe('a hundred engines with metrics pages of a megabyte', () => {
  it('are all read, and none is taken for dead', async () => {
    const series = `vllm:e2e_request_latency_seconds_bucket{engine="0",le="1.0",model_name="tiny"} 7.0\n`;
    const ballast = series.repeat(Math.ceil(1e6 / series.length));
    const fleet = await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const fake = new FakeVllm();
        Object.assign(fake, { ballast, waiting: index });
        return await watched(fake, await fake.start(), { probeTimeoutMs: DEFAULT_MONITOR_CONFIG.probeTimeoutMs });
      }),
    );
    await Promise.all(fleet.map(({ next }, index) => next(`waiting ${index}`)));
    expect(fleet.flatMap(({ log }) => log).filter((line) => line.startsWith('down'))).toEqual([]);
  });
});

describe('ProgressWatch', () => {
  it('suspects an engine only while work is outstanding and nothing moves', () => {
    const watch = new ProgressWatch(100);
    expect(watch.observe(5, 1, 0)).toBe(false);
    expect(watch.observe(5, 1, 99)).toBe(false);
    expect(watch.observe(5, 1, 100)).toBe(true);
    expect(watch.observe(6, 1, 101)).toBe(false);
    expect(watch.observe(6, 0, 500)).toBe(false);
    expect(watch.observe(6, 1, 550)).toBe(false);
    expect(watch.observe(6, 1, 600)).toBe(true);
    watch.reset();
    expect(watch.observe(6, 1, 900)).toBe(false);
    expect(watch.observe(undefined, 1, 5000)).toBe(false);
  });
});
