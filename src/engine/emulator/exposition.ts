/** A small writer of the Prometheus text format, with the number and label order of Python's client, which vLLM uses. */
type Labels = Readonly<Record<string, string>>;

/** A number as Python's client prints it: `3.0`, `0.4125`, `1.7952448786356356e+09`. */
export function prometheusNumber(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  if (Number.isNaN(value)) return 'NaN';
  const text = Number.isInteger(value) && Math.abs(value) < 1e16 ? `${value}.0` : String(value);
  const dot = text.indexOf('.');
  if (value <= 0 || dot <= 6) return text;
  const mantissa = `${text[0]}.${text.slice(1, dot)}${text.slice(dot + 1)}`.replace(/[0.]+$/, '');
  return `${mantissa}e+${String(dot - 1).padStart(2, '0')}`;
}

export function formatLabels(labels: Labels): string {
  const names = Object.keys(labels).sort();
  if (names.length === 0) return '';
  const escaped = (value: string) => value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
  return `{${names.map((name) => `${name}="${escaped(labels[name]!)}"`).join(',')}}`;
}

/** Series under one head. */
interface Group {
  readonly head: readonly string[];
  readonly series: readonly string[];
}

export interface Family {
  groups(): readonly Group[];
}

/** Writes a family; where several engines have it, the series of each in turn. */
export function renderFamily(ofEngines: readonly Family[], lines: string[]): void {
  const [first = [], ...others] = ofEngines.map((family) => family.groups());
  for (const [index, { head, series }] of first.entries()) {
    lines.push(...head, ...series, ...others.flatMap((groups) => groups[index]!.series));
  }
}

function headOf(name: string, help: string, type: string): readonly string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
}

export class Gauge implements Family {
  private readonly series = new Map<string, number>();

  constructor(
    readonly name: string,
    readonly help: string,
    readonly base: Labels,
  ) {}

  set(value: number, labels: Labels = {}): void {
    this.series.set(formatLabels({ ...this.base, ...labels }), value);
  }

  groups(): readonly Group[] {
    const series = [...this.series].map(([labels, value]) => `${this.name}${labels} ${prometheusNumber(value)}`);
    return [{ head: headOf(this.name, this.help, 'gauge'), series }];
  }
}

/** A counter; its name is given without the `_total` that the exposition adds, beside a `_created` gauge. */
export class Counter implements Family {
  private readonly series = new Map<string, number>();

  constructor(
    readonly name: string,
    readonly help: string,
    readonly base: Labels,
    readonly createdSeconds: number,
  ) {}

  add(value: number, labels: Labels = {}): void {
    const key = formatLabels({ ...this.base, ...labels });
    this.series.set(key, (this.series.get(key) ?? 0) + value);
  }

  /** For totals that are counted elsewhere. */
  set(value: number, labels: Labels = {}): void {
    this.series.set(formatLabels({ ...this.base, ...labels }), value);
  }

  groups(): readonly Group[] {
    const { name, help, createdSeconds } = this;
    const series = [...this.series].map(([labels, value]) => `${name}_total${labels} ${prometheusNumber(value)}`);
    return [
      { head: headOf(`${name}_total`, help, 'counter'), series },
      createdGroup(name, help, [...this.series.keys()], createdSeconds),
    ];
  }
}

export class Histogram implements Family {
  private readonly counts: number[];
  private count = 0;
  private sum = 0;

  constructor(
    readonly name: string,
    readonly help: string,
    readonly base: Labels,
    readonly createdSeconds: number,
    readonly bounds: readonly number[],
  ) {
    this.counts = bounds.map(() => 0);
  }

  /** Records `value`, `times` over. */
  observe(value: number, times = 1): void {
    this.count += times;
    this.sum += value * times;
    const bucket = this.bounds.findIndex((bound) => value <= bound);
    if (bucket >= 0) this.counts[bucket]! += times;
  }

  groups(): readonly Group[] {
    const { name, base, help, createdSeconds } = this;
    const labels = formatLabels(base);
    const bucket = (le: number, value: number) =>
      `${name}_bucket${formatLabels({ ...base, le: prometheusNumber(le) })} ${prometheusNumber(value)}`;
    let cumulative = 0;
    const buckets = this.bounds.map((bound, index) => {
      cumulative += this.counts[index]!;
      return bucket(bound, cumulative);
    });
    const series = [
      ...buckets,
      bucket(Number.POSITIVE_INFINITY, this.count),
      `${name}_count${labels} ${prometheusNumber(this.count)}`,
      `${name}_sum${labels} ${prometheusNumber(this.sum)}`,
    ];
    return [{ head: headOf(name, help, 'histogram'), series }, createdGroup(name, help, [labels], createdSeconds)];
  }
}

function createdGroup(name: string, help: string, labels: readonly string[], createdSeconds: number): Group {
  return {
    head: headOf(`${name}_created`, help, 'gauge'),
    series: labels.map((each) => `${name}_created${each} ${prometheusNumber(createdSeconds)}`),
  };
}
