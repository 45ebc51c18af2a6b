import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { Distribution, registerHistogram } from './distribution.js';

it('is printed as Prometheus has it: buckets summed up, a value on a bound under it, sum and count', async () => {
  const registry = new Registry();
  const distribution = new Distribution([0.1, 1]);
  registerHistogram(registry, 'x_seconds', 'How long', () => [[{ class: 'a' }, distribution]]);
  for (const seconds of [0.05, 0.1, 0.5, 7]) distribution.observe(seconds);
  expect(await registry.metrics()).toBe(
    [
      '# HELP x_seconds How long',
      '# TYPE x_seconds histogram',
      'x_seconds_bucket{le="0.1",class="a"} 2',
      'x_seconds_bucket{le="1",class="a"} 3',
      'x_seconds_bucket{le="+Inf",class="a"} 4',
      'x_seconds_sum{class="a"} 7.65',
      'x_seconds_count{class="a"} 4',
      '',
    ].join('\n'),
  );
});
