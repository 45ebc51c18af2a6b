import { describe, expect, it } from 'vitest';
import { ManualClock } from './clock.js';
import { ERROR_TABLE, MaestroError, systemCodeOf } from './error.js';
import { QueueBudget } from './queue-budget.js';
import { nextExponential, nextInt, SeededRng } from './rng.js';

describe('SeededRng', () => {
  it('repeats itself for a seed and differs between seeds', () => {
    const draw = (seed: number) =>
      Array.from(
        { length: 8 },
        (
          (rng) => () =>
            rng.next()
        )(new SeededRng(seed)),
      );
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
  });

  it('is uniform enough: mean 1/2, variance 1/12, every residue of nextInt', () => {
    const rng = new SeededRng(1);
    const draws = Array.from({ length: 20_000 }, () => rng.next());
    const mean = draws.reduce((sum, draw) => sum + draw, 0) / draws.length;
    const variance = draws.reduce((sum, draw) => sum + (draw - mean) ** 2, 0) / draws.length;
    expect(mean).toBeCloseTo(0.5, 1);
    expect(variance).toBeCloseTo(1 / 12, 2);
    expect(new Set(Array.from({ length: 200 }, () => nextInt(rng, 7))).size).toBe(7);
    const exponentialMean =
      Array.from({ length: 20_000 }, () => nextExponential(rng, 40)).reduce((a, b) => a + b) / 20_000;
    expect(exponentialMean).toBeGreaterThan(38);
    expect(exponentialMean).toBeLessThan(42);
  });
});

describe('ManualClock', () => {
  it('fires timers in order of due time, then of creation, each at its own time', () => {
    const clock = new ManualClock(100);
    const log: string[] = [];
    clock.after(20, () => log.push(`b@${clock.nowMs()}`));
    clock.after(10, () => {
      log.push(`a@${clock.nowMs()}`);
      clock.after(10, () => log.push(`c@${clock.nowMs()}`));
    });
    clock.after(15, () => log.push('never')).cancel();
    clock.advance(50);
    expect(log).toEqual(['a@110', 'b@120', 'c@120']);
    expect(clock.nowMs()).toBe(150);
  });
});

describe('QueueBudget', () => {
  it('names the limit that stands in the way and gives room back', () => {
    const budget = new QueueBudget({ maxCount: 2, maxBytes: 100 });
    expect(budget.tryAdd(60)).toBeUndefined();
    expect(budget.tryAdd(60)).toBe('bytes');
    expect(budget.tryAdd(10)).toBeUndefined();
    expect(budget.tryAdd(1)).toBe('count');
    budget.remove(60);
    expect([budget.count, budget.bytes]).toEqual([1, 10]);
    expect(() => budget.remove(20)).toThrow(/more was removed/);
  });
});

describe('systemCodeOf', () => {
  it.each([
    [Object.assign(new Error('no such file'), { code: 'ENOENT' }), 'ENOENT'],
    [new Error('no such file'), undefined],
    [Object.assign(new Error('aborted'), { code: 20 }), undefined],
    ['ENOENT', undefined],
    [null, undefined],
    [undefined, undefined],
  ])('of %s is %s', (thrown, code) => {
    expect(systemCodeOf(thrown)).toBe(code);
  });
});

describe('MaestroError', () => {
  it('renders the OpenAI body and hides the cause of unknown failures', () => {
    const error = new MaestroError('model_not_found', 'no such model', { param: 'model' });
    expect(error.httpStatus).toBe(404);
    expect(error.toBody()).toEqual({
      error: { message: 'no such model', type: 'invalid_request_error', param: 'model', code: 'model_not_found' },
    });
    const secret = new Error('password=hunter2');
    const wrapped = MaestroError.from(secret);
    expect(wrapped.code).toBe('internal');
    expect(JSON.stringify(wrapped.toBody())).not.toContain('hunter2');
    expect(wrapped.cause).toBe(secret);
    expect(MaestroError.from(error)).toBe(error);
  });

  it('has a status for every code, and 4xx codes of the caller are never retryable except when they say wait', () => {
    for (const [code, { httpStatus, retryable }] of Object.entries(ERROR_TABLE)) {
      expect(httpStatus, code).toBeGreaterThanOrEqual(400);
      if (retryable) expect([408, 429, 502, 503], code).toContain(httpStatus);
    }
  });
});
