import type { Clock, Timer } from '../../model/clock.js';
import { AnswerWatch } from './answer-watch.js';
import { type CallFailure, isRefusal, type VllmClient } from './client.js';
import { adaptersOf, type DiscoveredEngine, discoverEngine } from './discover.js';
import { type EngineMetrics, readEngineMetrics } from './metrics.js';
import { ProcessWatch } from './process-watch.js';
import { ProgressWatch } from './progress-watch.js';

/** Wall-time intervals of the watch over one engine. */
export interface MonitorConfig {
  /** Between readings of an engine that is up. */
  readonly pollMs: number;
  /** Between attempts to reach one that is down: short, so that it serves again within a second of answering. */
  readonly downPollMs: number;
  /** A busy server may answer late, so a probe waits this long before it counts as missed. */
  readonly probeTimeoutMs: number;
  /** Missed probes in a row that take an engine out. A refused connection does so at once. */
  readonly maxMissedProbes: number;
  /** Work outstanding and no counter moved for this long: the engine must answer a canary, or it is taken out. */
  readonly stallGraceMs: number;
  readonly canaryTimeoutMs: number;
  /** Requests in a row that the engine failed: it must answer a canary, or it is taken out. */
  readonly maxFailedAnswers: number;
  /** How often a server that is up is asked for its adapters, which others load and unload (`/v1/load_lora_adapter`). */
  readonly adaptersEveryMs: number;
}

export const DEFAULT_MONITOR_CONFIG: MonitorConfig = {
  pollMs: 500,
  downPollMs: 250,
  probeTimeoutMs: 10_000,
  maxMissedProbes: 3,
  stallGraceMs: 60_000,
  canaryTimeoutMs: 20_000,
  maxFailedAnswers: 5,
  adaptersEveryMs: 10_000,
};

export type MonitorDownReason = 'refused' | 'unresponsive' | 'unhealthy' | 'stalled' | 'failing';

/** What keeps us out of an engine that is there: it wants another API key, or one end does not trust the other's certificate. */
export type Barrier = 'key' | 'tls';

export interface MonitorListener {
  up(found: DiscoveredEngine): void;
  down(reason: MonitorDownReason, detail: string): void;
  metrics(metrics: EngineMetrics): void;
  /** Adapters were loaded or unloaded: these are all that the server has now. */
  adapters(names: readonly string[]): void;
  /** The engine is there, but does not let us in. Told once each time that it is looked for. */
  barred?(by: Barrier, message: string): void;
  /** An engine that has not been up yet does not answer. Told once for each kind of failure. */
  absent?(message: string): void;
  /** Several servers answer at the engine's address in turn. Told once. */
  several?(): void;
  /** Requests of ours inside the engine. */
  outstanding(): number;
  /** Connections have been refused for so long: nobody listens. Told at every attempt while the engine is down. */
  refused(forMs: number): void;
}

/** Watches one engine: finds it, reads its counters, notices when it dies, hangs, restarts and comes back. Each engine has its own loop and waits for no other. */
export class EngineMonitor {
  private isUp = false;
  private barrier: Barrier | undefined;
  private wasUp = false;
  private absence: CallFailure['kind'] | undefined;
  private stopped = false;
  private timer: Timer | undefined;
  private busy = false;
  private again = false;
  private missedProbes = 0;
  private processMayLive = false;
  private refusedSinceMs: number | undefined;
  private lastMetrics: EngineMetrics | undefined;
  private modelName = '';
  private adapters: readonly string[] = [];
  private adaptersAskedMs = 0;
  /** After a stall or failures the engine must generate before it counts as up. */
  private mustGenerate = false;
  /** Requests have failed: the counters as they stood then. */
  private failing: { readonly progress: number | undefined } | undefined;
  private readonly process = new ProcessWatch();
  private readonly progress: ProgressWatch;
  private readonly answers: AnswerWatch;

  constructor(
    private readonly client: VllmClient,
    private readonly wallClock: Clock,
    private readonly config: MonitorConfig,
    private readonly listener: MonitorListener,
  ) {
    this.progress = new ProgressWatch(config.stallGraceMs);
    this.answers = new AnswerWatch(config.maxFailedAnswers);
  }

  /** Starts the loop; resolves after the first attempt to reach the engine. */
  start(): Promise<void> {
    return this.poll();
  }

  stop(): void {
    this.stopped = true;
    this.timer?.cancel();
  }

  /** The data path got no connection. Only where it was refused, because nobody listens, is the process gone; else it may be the way to it, or a lack of time on either side. */
  reportUnreachable(refused: boolean): void {
    if (this.isUp && refused) this.goDown('refused', 'the data path was refused a connection');
    else if (this.isUp) this.goDown('unresponsive', 'the data path got no connection');
    this.pollSoon();
  }

  /** How a request on the data path has ended, as far as the engine is to blame. */
  reportAnswer(answered: boolean): void {
    if (answered) this.failing = undefined;
    if (!this.answers.observe(answered) || !this.isUp) return;
    this.failing = { progress: this.lastMetrics?.progress };
    this.pollSoon();
  }

  /** Looks now and not at the next interval. */
  private pollSoon(): void {
    if (this.stopped) return;
    if (this.busy) {
      this.again = true;
      return;
    }
    this.timer?.cancel();
    void this.poll();
  }

  private async poll(): Promise<void> {
    if (this.stopped || this.busy) return;
    this.busy = true;
    this.again = false;
    try {
      if (this.isUp) await this.probe();
      else await this.find();
    } finally {
      this.busy = false;
    }
    if (this.stopped) return;
    const delayMs = this.again ? 0 : this.isUp ? this.config.pollMs : this.config.downPollMs;
    this.timer = this.wallClock.after(delayMs, () => void this.poll());
  }

  private async find(): Promise<void> {
    const found = await discoverEngine(this.client);
    if (this.stopped) return;
    this.noteRefusal(!found.ok && found.failure.kind === 'refused');
    if (!found.ok) {
      const { message, kind } = found.failure;
      const barrier = barrierIn(found.failure);
      if (barrier && barrier !== this.barrier) this.listener.barred?.(barrier, message);
      this.barrier = barrier;
      if (!barrier && !this.wasUp && kind !== this.absence) this.listener.absent?.(message);
      this.absence = kind;
      // An engine that hung and is now refused has died since: its memory is free.
      if (kind === 'refused' && this.processMayLive) this.goDown('refused', message);
      return;
    }
    this.modelName = found.value.modelNames[0]!;
    this.adapters = found.value.adapters;
    this.adaptersAskedMs = this.wallClock.nowMs();
    if (this.mustGenerate && found.value.level === 0 && !(await this.generates())) return;
    if (this.stopped) return;
    this.isUp = true;
    this.wasUp = true;
    this.barrier = undefined;
    this.mustGenerate = false;
    this.missedProbes = 0;
    this.lastMetrics = found.value.metrics;
    this.process.reset();
    if (found.value.metrics) this.sameProcess(found.value.metrics);
    this.progress.reset();
    this.answers.reset();
    this.listener.up(found.value);
  }

  private noteRefusal(refused: boolean): void {
    if (!refused) {
      this.refusedSinceMs = undefined;
      return;
    }
    this.process.gone();
    const nowMs = this.wallClock.nowMs();
    this.refusedSinceMs ??= nowMs;
    this.listener.refused(nowMs - this.refusedSinceMs);
  }

  private async probe(): Promise<void> {
    const { probeTimeoutMs } = this.config;
    const [health, page] = await Promise.all([this.client.health(probeTimeoutMs), this.client.metrics(probeTimeoutMs)]);
    if (this.stopped || !this.isUp) return;
    if (!health.ok) return this.missed(health.failure);
    this.missedProbes = 0;
    if (!page.ok) return;
    const metrics = readEngineMetrics(page.value);
    if (!this.sameProcess(metrics)) {
      this.goDown('refused', 'the process was replaced');
      this.again = true;
      return;
    }
    this.lastMetrics = metrics;
    this.listener.metrics(metrics);
    await this.checkAnswers(metrics);
    if (this.isUp) await this.checkProgress(metrics);
    if (this.isUp) await this.lookForAdapters();
  }

  private async lookForAdapters(): Promise<void> {
    if (this.wallClock.nowMs() - this.adaptersAskedMs < this.config.adaptersEveryMs) return;
    this.adaptersAskedMs = this.wallClock.nowMs();
    const models = await this.client.models();
    if (this.stopped || !this.isUp || !models.ok) return;
    const names = adaptersOf(models.value);
    if (names.join('\n') === this.adapters.join('\n')) return;
    this.adapters = names;
    this.listener.adapters(names);
  }

  /** False where the process has been replaced. */
  private sameProcess(metrics: EngineMetrics): boolean {
    const seen = this.process.observe(metrics);
    if (seen === 'several') this.listener.several?.();
    return seen !== 'replaced';
  }

  private missed(failure: CallFailure): void {
    this.missedProbes += 1;
    if (failure.kind === 'refused') this.goDown('refused', failure.message);
    else if (failure.kind === 'http') this.goDown('unhealthy', failure.message);
    else if (this.missedProbes >= this.config.maxMissedProbes) this.goDown('unresponsive', failure.message);
    else this.again = failure.kind === 'reset';
  }

  /** Failures in a row, no counter that moves and no answer to a canary are an engine that is broken, or not ready. One that is full moves its counters. */
  private async checkAnswers({ progress }: EngineMetrics): Promise<void> {
    const { failing } = this;
    if (!failing) return;
    const alive = (progress !== undefined && progress !== failing.progress) || (await this.generates());
    // A request may have been answered meanwhile.
    if (this.stopped || !this.isUp || this.failing !== failing) return;
    this.failing = undefined;
    if (alive) return;
    this.mustGenerate = true;
    this.goDown('failing', `${this.config.maxFailedAnswers} requests in a row failed, and so did a canary`);
  }

  private async checkProgress({ progress }: EngineMetrics): Promise<void> {
    const suspect = this.progress.observe(progress, this.listener.outstanding(), this.wallClock.nowMs());
    if (!suspect) return;
    // A client that reads slowly also looks like this; an engine that generates is alive.
    const alive = await this.generates();
    if (this.stopped || !this.isUp) return;
    this.progress.reset();
    if (alive) return;
    this.mustGenerate = true;
    this.goDown(
      'stalled',
      `no counter moved for ${this.config.stallGraceMs} ms with work outstanding, and a canary got no answer`,
    );
  }

  private async generates(): Promise<boolean> {
    const timeoutMs = this.config.canaryTimeoutMs;
    const answer = await this.client.canary({ model: this.modelName, maxTokens: 1, timeoutMs });
    return answer.ok || isRefusal(answer.failure);
  }

  private goDown(reason: MonitorDownReason, detail: string): void {
    this.isUp = false;
    this.processMayLive = reason !== 'refused';
    this.missedProbes = 0;
    this.failing = undefined;
    this.listener.down(reason, detail);
  }
}

function barrierIn({ kind, status }: CallFailure): Barrier | undefined {
  if (kind === 'tls') return 'tls';
  return status === 401 || status === 403 ? 'key' : undefined;
}
