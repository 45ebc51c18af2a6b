import { Counter, Gauge, Registry } from 'prom-client';
import { noOutcomes, OUTCOME_KINDS, type OutcomeKind } from '../model/stage.js';
import { Distribution, registerHistogram } from './distribution.js';

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

/** What is counted of the requests of one route and class. */
interface RouteNumbers {
  readonly route: string;
  readonly sloClass: string;
  readonly outcomes: Record<OutcomeKind, number>;
  readonly durationSeconds: Distribution;
}

/** What is counted of the requests of one class. */
interface ClassNumbers {
  readonly sloClass: string;
  readonly queueSeconds: Distribution;
  readonly ttftSeconds: Distribution;
}

/**
 * The gateway's numbers. Every request that starts ends once: `started` equals the sum of `outcomes` plus `inFlight` at every moment, and
 * `inFlight` is zero when nothing runs.
 */
export class GatewayMetrics {
  readonly registry = new Registry();
  private readonly vocabulary: { routes: Set<string>; classes: Set<string>; identitySources: Set<string> };
  private readonly outcomeCounts = noOutcomes();
  private startedCount = 0;
  private openCount = 0;

  /** By route and class. */
  private readonly byRoute = new Map<string, Map<string, RouteNumbers>>();
  private readonly byClass = new Map<string, ClassNumbers>();
  private readonly bySource = new Map<string, number>();
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

  private readonly rateLimits = new Counter({
    name: 'maestro_rate_limited_total',
    help: 'Requests refused because their tenant had used what its key allows in a minute, by what that is; when it rises, somebody sends more, or the limit is too low',
    labelNames: ['limit'],
    registers: [this.registry],
  });

  private readonly heartbeats = new Counter({
    name: 'maestro_heartbeats_total',
    help: 'Comments in streams that had not begun, and interim responses; when it rises, requests wait long for an engine or in it',
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
    this.registerCounts();
    const ofClasses = (which: 'queueSeconds' | 'ttftSeconds') => () =>
      [...this.byClass.values()].map((numbers) => [{ class: numbers.sloClass }, numbers[which]] as const);
    const { registry } = this;
    registerHistogram(registry, 'maestro_queue_seconds', 'Wait in our queue', ofClasses('queueSeconds'));
    registerHistogram(registry, 'maestro_ttft_seconds', 'From arrival to the first content', ofClasses('ttftSeconds'));
    registerHistogram(registry, 'maestro_request_duration_seconds', 'From arrival to the end', () =>
      this.routeNumbers().map(({ route, sloClass, durationSeconds }) => [{ route, class: sloClass }, durationSeconds]),
    );
  }

  requestStarted(): void {
    this.startedCount++;
    this.openCount++;
  }

  requestEnded(ended: EndedRequest): void {
    this.openCount--;
    this.outcomeCounts[ended.outcome]++;
    const sloClass = ended.sloClass === undefined ? 'none' : known(this.vocabulary.classes, ended.sloClass);
    const ofRoute = this.ofRoute(known(this.vocabulary.routes, ended.route), sloClass);
    ofRoute.outcomes[ended.outcome] += 1;
    ofRoute.durationSeconds.observe(ended.durationMs / 1000);
    const ofClass = this.ofClass(sloClass);
    if (ended.queueMs !== undefined) ofClass.queueSeconds.observe(ended.queueMs / 1000);
    if (ended.ttftMs !== undefined) ofClass.ttftSeconds.observe(ended.ttftMs / 1000);
  }

  identityResolved(source: string, classClamped: boolean): void {
    const label = known(this.vocabulary.identitySources, source);
    this.bySource.set(label, (this.bySource.get(label) ?? 0) + 1);
    if (classClamped) this.clampedClasses.inc();
  }

  /** `cause` and `phase` come from the gateway's own closed sets. */
  upstreamAborted(cause: string, phase: string): void {
    this.upstreamAborts.inc({ cause, phase });
  }

  /** `limit` comes from the gateway's own closed set. */
  rateLimited(limit: string): void {
    this.rateLimits.inc({ limit });
  }

  heartbeatSent(): void {
    this.heartbeats.inc();
  }

  /** The ledger of requests: what began, what is open, how the rest ended. */
  ledger(): {
    readonly started: number;
    readonly inFlight: number;
    readonly outcomes: Readonly<Record<OutcomeKind, number>>;
  } {
    return { started: this.startedCount, inFlight: this.openCount, outcomes: { ...this.outcomeCounts } };
  }

  /** Counters that are kept here and told when they are asked for: to count costs less than to look up a series by its labels. */
  private registerCounts(): void {
    const metrics = this;
    new Counter({
      name: 'maestro_requests_total',
      help: 'Requests that ended, by outcome',
      labelNames: ['route', 'outcome', 'class'],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const { route, sloClass, outcomes } of metrics.routeNumbers()) {
          for (const outcome of OUTCOME_KINDS) {
            if (outcomes[outcome] > 0) this.inc({ route, outcome, class: sloClass }, outcomes[outcome]);
          }
        }
      },
    });
    new Counter({
      name: 'maestro_identity_source_total',
      help: 'Requests by the step of identity resolution that named their workflow',
      labelNames: ['source'],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [source, count] of metrics.bySource) this.inc({ source }, count);
      },
    });
  }

  private routeNumbers(): RouteNumbers[] {
    return [...this.byRoute.values()].flatMap((classes) => [...classes.values()]);
  }

  private ofRoute(route: string, sloClass: string): RouteNumbers {
    let classes = this.byRoute.get(route);
    if (!classes) {
      classes = new Map();
      this.byRoute.set(route, classes);
    }
    let numbers = classes.get(sloClass);
    if (!numbers) {
      numbers = { route, sloClass, outcomes: noOutcomes(), durationSeconds: new Distribution(TIME_BUCKETS_S) };
      classes.set(sloClass, numbers);
    }
    return numbers;
  }

  private ofClass(sloClass: string): ClassNumbers {
    let numbers = this.byClass.get(sloClass);
    if (!numbers) {
      const [queueSeconds, ttftSeconds] = [new Distribution(TIME_BUCKETS_S), new Distribution(TIME_BUCKETS_S)];
      numbers = { sloClass, queueSeconds, ttftSeconds };
      this.byClass.set(sloClass, numbers);
    }
    return numbers;
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
