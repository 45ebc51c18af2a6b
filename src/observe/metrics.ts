import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { OUTCOME_KINDS, type OutcomeKind } from '../model/stage.js';

/** Upper bounds in seconds; TTFT and durations of LLM calls span from milliseconds to many minutes. */
const TIME_BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800];

/** The closed sets from which labels come; any other value is counted as `other`, so callers cannot add series. */
export interface MetricsVocabulary {
  readonly routes: readonly string[];
  readonly classes: readonly string[];
  readonly identitySources: readonly string[];
}

/** What is counted when a request ends. Times in milliseconds. */
export interface EndedRequest {
  readonly route: string;
  readonly sloClass: string | undefined;
  readonly outcome: OutcomeKind;
  readonly durationMs: number;
  readonly queueMs: number | undefined;
  readonly ttftMs: number | undefined;
}

/**
 * The gateway's numbers. Every request that starts ends once: `started` equals the sum of `outcomes` plus `inFlight` at every moment, and
 * `inFlight` is zero when nothing runs.
 */
export class GatewayMetrics {
  readonly registry = new Registry();
  private readonly vocabulary: { routes: Set<string>; classes: Set<string>; identitySources: Set<string> };
  private readonly outcomeCounts = Object.fromEntries(OUTCOME_KINDS.map((kind) => [kind, 0])) as Record<
    OutcomeKind,
    number
  >;
  private startedCount = 0;
  private openCount = 0;

  private readonly requests = new Counter({
    name: 'maestro_requests_total',
    help: 'Requests that ended, by outcome',
    labelNames: ['route', 'outcome', 'class'],
    registers: [this.registry],
  });
  private readonly queueSeconds = this.histogram('maestro_queue_seconds', 'Wait in our queue', ['class']);
  private readonly ttftSeconds = this.histogram('maestro_ttft_seconds', 'From arrival to the first content', ['class']);
  private readonly durationSeconds = this.histogram('maestro_request_duration_seconds', 'From arrival to the end', [
    'route',
    'class',
  ]);
  private readonly identitySources = new Counter({
    name: 'maestro_identity_source_total',
    help: 'Requests by the step of identity resolution that named their workflow',
    labelNames: ['source'],
    registers: [this.registry],
  });
  private readonly upstreamAborts = new Counter({
    name: 'maestro_upstream_aborts_total',
    help: 'Engine calls that we broke off, by cause and by how far they had come',
    labelNames: ['cause', 'phase'],
    registers: [this.registry],
  });
  private readonly clampedClasses = new Counter({
    name: 'maestro_class_clamped_total',
    help: 'Requests that asked for a higher class than their key allows',
    registers: [this.registry],
  });

  constructor(vocabulary: MetricsVocabulary) {
    this.vocabulary = {
      routes: new Set(vocabulary.routes),
      classes: new Set(vocabulary.classes),
      identitySources: new Set(vocabulary.identitySources),
    };
    const metrics = this;
    new Gauge({
      name: 'maestro_requests_in_flight',
      help: 'Requests that have begun and not ended',
      registers: [this.registry],
      collect() {
        this.set(metrics.openCount);
      },
    });
  }

  requestStarted(): void {
    this.startedCount++;
    this.openCount++;
  }

  requestEnded(ended: EndedRequest): void {
    this.openCount--;
    this.outcomeCounts[ended.outcome]++;
    const route = known(this.vocabulary.routes, ended.route);
    const sloClass = ended.sloClass === undefined ? 'none' : known(this.vocabulary.classes, ended.sloClass);
    this.requests.inc({ route, outcome: ended.outcome, class: sloClass });
    this.durationSeconds.observe({ route, class: sloClass }, ended.durationMs / 1000);
    if (ended.queueMs !== undefined) this.queueSeconds.observe({ class: sloClass }, ended.queueMs / 1000);
    if (ended.ttftMs !== undefined) this.ttftSeconds.observe({ class: sloClass }, ended.ttftMs / 1000);
  }

  identityResolved(source: string, classClamped: boolean): void {
    this.identitySources.inc({ source: known(this.vocabulary.identitySources, source) });
    if (classClamped) this.clampedClasses.inc();
  }

  /** `cause` and `phase` come from the gateway's own closed sets. */
  upstreamAborted(cause: string, phase: string): void {
    this.upstreamAborts.inc({ cause, phase });
  }

  /** The ledger of requests: what began, what is open, how the rest ended. */
  ledger(): {
    readonly started: number;
    readonly inFlight: number;
    readonly outcomes: Readonly<Record<OutcomeKind, number>>;
  } {
    return { started: this.startedCount, inFlight: this.openCount, outcomes: { ...this.outcomeCounts } };
  }

  private histogram(name: string, help: string, labelNames: string[]): Histogram {
    return new Histogram({ name, help, labelNames, buckets: TIME_BUCKETS_S, registers: [this.registry] });
  }
}

/** Exports a total that is counted elsewhere. */
export function exportTotal(registry: Registry, name: string, help: string, read: () => number): void {
  new Counter({
    name,
    help,
    registers: [registry],
    collect() {
      this.reset();
      this.inc(read());
    },
  });
}

function known(vocabulary: ReadonlySet<string>, value: string): string {
  return vocabulary.has(value) ? value : 'other';
}
