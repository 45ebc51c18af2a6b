import type { Metric, Registry } from 'prom-client';

/** How often values fell under each of some bounds: one series of a Prometheus histogram. */
export class Distribution {
  /** By bucket, not summed up; the last one is above all bounds. */
  private readonly counts: Float64Array;
  private sum = 0;

  /** @param bounds Upper bounds in ascending order. */
  constructor(private readonly bounds: readonly number[]) {
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    const { bounds } = this;
    let bucket = 0;
    while (bucket < bounds.length && value > bounds[bucket]!) bucket += 1;
    this.counts[bucket]! += 1;
    this.sum += value;
  }

  /** The lines of the series in prom-client's terms. */
  values(name: string, labels: Readonly<Record<string, string>>): MetricLine[] {
    let count = 0;
    const buckets = Array.from(this.counts, (inBucket, bucket) => {
      count += inBucket;
      return { metricName: `${name}_bucket`, labels: { le: this.bounds[bucket] ?? '+Inf', ...labels }, value: count };
    });
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels, value: this.sum },
      { metricName: `${name}_count`, labels, value: count },
    ];
  }
}

interface MetricLine {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/**
 * Makes a histogram of distributions that others keep. prom-client's own looks up its series by a text made of all labels at every value, which for the few
 * numbers of a request cost as much as routing it.
 */
export function registerHistogram(
  registry: Registry,
  name: string,
  help: string,
  series: () => Iterable<readonly [labels: Readonly<Record<string, string>>, Distribution]>,
): void {
  const get = () =>
    Promise.resolve({
      ...{ name, help, type: 'histogram', aggregator: 'sum' },
      values: [...series()].flatMap(([labels, distribution]) => distribution.values(name, labels)),
    });
  // The registry asks no more of a metric than its name and what it has to say.
  registry.registerMetric({ name, get } as unknown as Metric);
}
