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

export interface Family {
  render(lines: string[]): void;
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

  render(lines: string[]): void {
    lines.push(`# HELP ${this.name} ${this.help}`, `# TYPE ${this.name} gauge`);
    for (const [labels, value] of this.series) lines.push(`${this.name}${labels} ${prometheusNumber(value)}`);
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

  render(lines: string[]): void {
    lines.push(`# HELP ${this.name}_total ${this.help}`, `# TYPE ${this.name}_total counter`);
    for (const [labels, value] of this.series) lines.push(`${this.name}_total${labels} ${prometheusNumber(value)}`);
    renderCreated(lines, this.name, this.help, [...this.series.keys()], this.createdSeconds);
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

  render(lines: string[]): void {
    lines.push(`# HELP ${this.name} ${this.help}`, `# TYPE ${this.name} histogram`);
    let cumulative = 0;
    const bucket = (le: number, value: number) =>
      lines.push(
        `${this.name}_bucket${formatLabels({ ...this.base, le: prometheusNumber(le) })} ${prometheusNumber(value)}`,
      );
    for (const [index, bound] of this.bounds.entries()) {
      cumulative += this.counts[index]!;
      bucket(bound, cumulative);
    }
    bucket(Number.POSITIVE_INFINITY, this.count);
    const labels = formatLabels(this.base);
    lines.push(`${this.name}_count${labels} ${prometheusNumber(this.count)}`);
    lines.push(`${this.name}_sum${labels} ${prometheusNumber(this.sum)}`);
    renderCreated(lines, this.name, this.help, [labels], this.createdSeconds);
  }
}

function renderCreated(
  lines: string[],
  name: string,
  help: string,
  series: readonly string[],
  createdSeconds: number,
): void {
  lines.push(`# HELP ${name}_created ${help}`, `# TYPE ${name}_created gauge`);
  for (const labels of series) lines.push(`${name}_created${labels} ${prometheusNumber(createdSeconds)}`);
}
