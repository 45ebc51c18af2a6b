import type { Clock, Timer } from '../../model/clock.js';
import type { Logger } from '../../observe/log.js';
import type { GlobalScheduler } from '../scheduler.js';
import type { Portfolio, PortfolioConfig, PortfolioEntry, PortfolioStats } from './portfolio.js';
import type { ReplayRequest, ReplayResult } from './replay.js';

/** Replays off the event loop, on a thread of its own. */
export interface ReplayWorker {
  /** Rejects when the thread has died or cannot replay this fleet. */
  evaluate(request: ReplayRequest): Promise<ReplayResult>;
  close(): Promise<void>;
}

export interface PortfolioServiceOptions {
  readonly clock: Clock;
  /** Clock milliseconds in one of the wall, by which the CPU time of replays is counted. */
  readonly timeScale: number;
  readonly portfolio: Portfolio;
  readonly scheduler: GlobalScheduler;
  readonly worker: ReplayWorker;
  readonly logger: Logger;
}

/** What `fleet()` tells of the self-tuning policy. */
export interface PortfolioSnapshot extends PortfolioStats {
  readonly last: PortfolioEntry | undefined;
}

/** How often the portfolio is asked whether an evaluation is due. */
const TICK_MS = 5_000;
/** After so many failures on end the ordering stays as it is. */
const MAX_FAILURES = 3;

/** The self-tuning policy, live: carries its requests to the replay thread and its choices to the scheduler. */
export class PortfolioService {
  private timer: Timer | undefined;
  private failures = 0;
  private closed = false;
  /** Undefined while the fleet cannot be modelled. */
  private worker: ReplayWorker | undefined;

  constructor(private readonly options: PortfolioServiceOptions) {
    this.worker = options.worker;
    this.tickLater();
  }

  /** From now on `worker` replays, on another fleet. What the former one has been asked is not awaited any more. */
  fleetChanged(settings: Pick<PortfolioConfig, 'thinnings' | 'clearAlone'>, worker: ReplayWorker | undefined): void {
    const former = this.worker;
    this.worker = worker;
    this.options.portfolio.fleetChanged(settings);
    this.failures = 0;
    this.timer?.cancel();
    if (!this.closed) this.tickLater();
    void former?.close();
  }

  snapshot(): PortfolioSnapshot {
    const { portfolio } = this.options;
    return { ...portfolio.stats(), last: portfolio.log().at(-1) };
  }

  async close(): Promise<void> {
    this.closed = true;
    this.timer?.cancel();
    await this.worker?.close();
  }

  private tickLater(): void {
    this.timer = this.options.clock.after(TICK_MS, () => {
      this.tick();
      if (!this.closed && this.failures < MAX_FAILURES) this.tickLater();
    });
  }

  private tick(): void {
    const { portfolio, scheduler, clock, timeScale } = this.options;
    const { worker } = this;
    const request = worker && portfolio.plan(clock.nowMs());
    if (!request) return;
    const knownQueues = scheduler.queues.known();
    worker.evaluate({ ...request, knownQueues, budgetMs: request.budgetMs / timeScale }).then(
      (result) => this.worker === worker && this.answered(result),
      (error: unknown) => this.worker === worker && this.failed(error),
    );
  }

  private answered(result: ReplayResult): void {
    const { portfolio, scheduler, clock, timeScale, logger } = this.options;
    if (this.closed) return;
    this.failures = 0;
    const nowMs = clock.nowMs();
    const policy = portfolio.scored({ ...result, costMs: result.costMs * timeScale }, nowMs);
    const { incumbent, chosen, reason } = portfolio.log().at(-1)!;
    if (!policy) {
      logger.debug({ incumbent, reason }, 'the order stays');
      return;
    }
    scheduler.setPolicy(policy, nowMs);
    logger.info({ from: incumbent, to: chosen, reason }, 'the order changes');
  }

  private failed(error: unknown): void {
    if (this.closed) return;
    this.failures += 1;
    this.options.portfolio.failed();
    this.options.logger.warn({ err: error }, 'the last minutes could not be replayed; the order stays');
  }
}
