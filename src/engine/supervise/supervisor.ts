import { openSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock, Timer } from '../../model/clock.js';
import { messageOf } from '../../model/error.js';
import { VllmClient } from '../vllm/client.js';
import type { EngineTls } from '../vllm/engine-tls.js';
import { claimAddress } from './claim-address.js';
import { CrashBackoff, type CrashBackoffConfig, DEFAULT_CRASH_BACKOFF } from './crash-backoff.js';
import { adoptEngine, type EngineProcess, endGroup, signalGroup, spawnEngine, sweepGroup } from './engine-process.js';
import { classifyExit, type ExitReason, isHopeless } from './exit-reason.js';
import { type EngineLaunch, launchCommand, launchEnvironment, servesTheSame } from './launch-command.js';
import { logTail, openLog } from './log-file.js';
import { processEntry } from './process-table.js';
import { bootId, forgetRunRecord, type RunRecord, readLiveRunRecord, writeRunRecord } from './run-record.js';
import type { StartLocks } from './start-locks.js';
import type { WeightFetch } from './weight-fetch.js';

/** The few log calls that are used here; a pino logger fits. */
export interface SupervisorLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface SupervisorOptions {
  readonly launch: EngineLaunch;
  /** Folder for logs and run records. */
  readonly stateDir: string;
  /** Real time: processes do not follow an emulated clock. */
  readonly clock: Clock;
  readonly locks: StartLocks;
  /** May the process take its memory now? Asked until it may; with `over` when a start has come to nothing. Absent: always. */
  readonly mayStart?: (over: boolean) => boolean;
  readonly logger: SupervisorLogger;
  readonly backoff?: CrashBackoffConfig;
  /** Brings its weights onto the node before it starts. Absent: they are there, or the program fetches them itself. */
  readonly fetch?: Pick<WeightFetch, 'bring' | 'end' | 'endAtOnce'> | undefined;
  /** A start that takes longer than this has failed. Reading weights from a slow disk takes minutes. */
  readonly startLimitMs?: number;
  /** A process that has served and refuses connections for so long is ended by force, see {@link EngineSupervisor.refused}. */
  readonly deafLimitMs?: number;
  /** Between SIGTERM and SIGKILL. */
  readonly graceMs?: number;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Where the engine is started with TLS. */
  readonly tls?: EngineTls | undefined;
}

/**
 * - `fetching`: its weights are brought onto the node, or the next try to do so is waited for; - `waiting`: for its turn on the GPU, or for the next try; - `starting`: runs, does not answer yet; - `serving`;
 * - `given-up`: its command line is wrong; - `stopping`; - `stopped`.
 */
export type SupervisedState = 'fetching' | 'waiting' | 'starting' | 'serving' | 'given-up' | 'stopping' | 'stopped';

const READY_POLL_MS = 250;
/** Nobody listens on the port of a process that has served: it is ending, and vLLM's API server may hang there for good when its engine has died. */
const DEFAULT_DEAF_LIMIT_MS = 30_000;
const RECORD_RETRY_MS = 5_000;
/** After more failures in a row nobody should wait for it: the next start alone is half a minute away. */
const HOPEFUL_FAILURES = 4;
const ROOM_POLL_MS = 250;
const DEFAULT_START_LIMIT_MS = 30 * 60_000;
const DEFAULT_GRACE_MS = 10_000;

/**
 * Keeps one vLLM process running: starts it, waits until it serves, tells why it ended, and starts it again after a growing pause. The process leads its own group
 * and writes its own log, so it outlives this program; the next run finds it by its record and goes on with it.
 */
export class EngineSupervisor {
  readonly engineId: string;
  /** Why it ended, by reason, since the start. */
  readonly exits = new Map<ExitReason, number>();
  private current: SupervisedState = 'stopped';
  private readonly backoff: CrashBackoff;
  private process: EngineProcess | undefined;
  private retry: Timer | undefined;
  private lastFailure: string | undefined;
  private running: Promise<void> = Promise.resolve();
  private wakeRetry: (() => void) | undefined;
  private retiring = false;
  /** When the process was first seen to serve. */
  private servingSinceMs = 0;
  /** A process that is being ended because it listens no more. */
  private deaf: EngineProcess | undefined;

  constructor(private readonly options: SupervisorOptions) {
    this.engineId = options.launch.engineId;
    this.backoff = new CrashBackoff(options.backoff ?? DEFAULT_CRASH_BACKOFF);
  }

  get state(): SupervisedState {
    return this.current;
  }

  /** The name under which it serves its model. */
  get model(): string {
    return this.options.launch.servedName;
  }

  /** Is it being started, with a fair chance that it will serve? Not one that keeps ending, or is not wanted any more. */
  get comesBack(): boolean {
    const { current } = this;
    return (current === 'waiting' || current === 'starting') && this.backoff.count <= HOPEFUL_FAILURES;
  }

  get pid(): number | undefined {
    return this.process?.pid;
  }

  /** The last reason why it is not serving, in words; undefined while all is well. */
  get failure(): string | undefined {
    return this.lastFailure;
  }

  get logPath(): string {
    return join(this.options.stateDir, 'logs', `${this.engineId}.log`);
  }

  private get recordPath(): string {
    return join(this.options.stateDir, 'run', `${this.engineId}.json`);
  }

  /** Begins to keep the engine running; returns at once. */
  start(): void {
    if (this.current !== 'stopped') return;
    this.current = 'waiting';
    this.running = this.run();
  }

  /** Lets go of the engine without ending it: the next run of this program takes it over. */
  async release(): Promise<void> {
    if (this.current === 'stopped') return;
    this.current = 'stopped';
    this.retry?.cancel();
    this.wakeRetry?.();
    await this.options.fetch?.end();
  }

  /** Ends the engine and everything it has started. Drain it first: vLLM breaks open streams off at SIGTERM. */
  async stop(): Promise<void> {
    if (this.current === 'stopped') return;
    this.current = 'stopping';
    this.retry?.cancel();
    this.wakeRetry?.();
    await this.options.fetch?.end();
    const { process } = this;
    if (process) await endGroup(process.pid, this.options.graceMs ?? DEFAULT_GRACE_MS, this.options.clock);
    await this.running;
    forgetRunRecord(this.recordPath);
    this.current = 'stopped';
  }

  /** Tells the engine to end and waits for nothing. Its record stays: should it not end, the next run finds it. */
  endAtOnce(): void {
    if (this.current === 'stopped') return;
    this.options.fetch?.endAtOnce();
    if (this.process) signalGroup(this.process.pid, 'SIGTERM');
  }

  /** Ends a process that is sound but used up; a new one is started at once. To be asked only while nothing runs on it. */
  async retire(): Promise<void> {
    if (this.current !== 'serving' || !this.process) return;
    this.retiring = true;
    let gone = false;
    try {
      gone = await endGroup(this.process.pid, this.options.graceMs ?? DEFAULT_GRACE_MS, this.options.clock);
    } finally {
      // One that survives even SIGKILL, or is not ours to end, ends some day for a reason of its own.
      if (!gone) this.retiring = false;
    }
  }

  /** Whoever watches the engine has been refused connections for so long. A refused connection is certain; one that only gets no answer may be a busy server. */
  refused(forMs: number): void {
    const { process } = this;
    const { clock, logger, deafLimitMs = DEFAULT_DEAF_LIMIT_MS, graceMs = DEFAULT_GRACE_MS } = this.options;
    if (!process || this.current !== 'serving' || this.deaf === process) return;
    // Nobody listened before it served, either.
    if (Math.min(forMs, clock.nowMs() - this.servingSinceMs) < deafLimitMs) return;
    this.deaf = process;
    const fields = { engine: this.engineId, pid: process.pid };
    logger.warn(fields, 'the engine listens no more but does not end; it is ended by force');
    const failed = (err?: unknown) => logger.error({ ...fields, err }, 'the engine could not be ended');
    endGroup(process.pid, graceMs, clock).then((gone) => gone || failed(), failed);
  }

  private get wanted(): boolean {
    return this.current !== 'stopping' && this.current !== 'stopped';
  }

  private async run(): Promise<void> {
    const { locks, launch, logger, clock } = this.options;
    while (this.wanted) {
      this.process = undefined;
      let served = false;
      try {
        this.process = await this.adopt();
        if (!this.process) await this.fetchWeights();
        served = this.process
          ? await this.untilServing(this.process)
          : await locks.hold(launch.gpuIndices, async () => this.wanted && this.startProcess());
      } catch (error) {
        this.lastFailure = messageOf(error);
        logger.error({ engine: this.engineId, err: error }, 'the engine could not be started');
      }
      if (!this.process) {
        this.options.mayStart?.(true);
        if (this.wanted) await this.pause(this.backoff.failed(clock.nowMs()));
        continue;
      }
      const { pid, ended } = this.process;
      const exit = await this.endOf(ended);
      if (!exit) return;
      await this.settle(pid, exit, served);
    }
  }

  /** The end of the process; undefined when it has been let go meanwhile. */
  private async endOf(ended: EngineProcess['ended']): Promise<Awaited<EngineProcess['ended']> | undefined> {
    const released = new Promise<undefined>((resolve) => {
      this.wakeRetry = () => {
        if (this.current === 'stopped') resolve(undefined);
      };
    });
    return Promise.race([ended, released]);
  }

  /** An engine that an earlier run has left. One of another model is of no use to anybody: it is ended, and started anew. */
  private async adopt(): Promise<EngineProcess | undefined> {
    const { launch, clock, logger, graceMs = DEFAULT_GRACE_MS } = this.options;
    const record = readLiveRunRecord(this.recordPath);
    if (!record || record.engineId !== launch.engineId) return undefined;
    const fields = { engine: this.engineId, pid: record.pid };
    if (!servesTheSame(record.command, launch)) {
      logger.warn(fields, 'an engine of another model still runs here; it is ended and started as the fleet file says');
      await endGroup(record.pid, graceMs, clock);
      return undefined;
    }
    if (record.command.join('\0') !== launchCommand(launch).join('\0')) {
      const advice = 'is taken over as it is; kill it to have it started as the fleet file says now';
      logger.warn(fields, `an engine with other arguments still runs and ${advice}`);
    }
    logger.info(fields, 'took over a running engine');
    return adoptEngine(record.pid, record.startTicks, clock, () => this.current !== 'stopped');
  }

  /** Before its turn on the GPU: others start there while this takes its minutes or hours. */
  private async fetchWeights(): Promise<void> {
    const { fetch } = this.options;
    if (!fetch || !this.wanted) return;
    this.current = 'fetching';
    await fetch.bring();
    if (this.wanted) this.current = 'waiting';
  }

  private async startProcess(): Promise<boolean> {
    const { launch, logger } = this.options;
    await claimAddress(launch.url);
    await this.untilRoom();
    if (!this.wanted) return false;
    const command = launchCommand(launch);
    this.current = 'starting';
    const process = await spawnEngine({
      command,
      env: launchEnvironment(launch, this.options.environment ?? globalThis.process.env),
      logFile: this.openLog(),
    });
    this.process = process;
    if (!this.wanted) {
      // Whoever has told us to end meanwhile did not know of it.
      await endGroup(process.pid, this.options.graceMs ?? DEFAULT_GRACE_MS, this.options.clock);
      return false;
    }
    const startTicks = processEntry(process.pid)?.startTicks;
    if (startTicks !== undefined) {
      const { engineId } = launch;
      this.keepRecord(process, { engineId, pid: process.pid, startTicks, bootId: bootId(), command });
    }
    logger.info({ engine: this.engineId, pid: process.pid, log: this.logPath }, 'engine started');
    return this.untilServing(process);
  }

  private async untilRoom(): Promise<void> {
    const { mayStart, clock } = this.options;
    while (this.wanted && mayStart?.(false) === false) {
      this.lastFailure = 'waits for GPU memory';
      await new Promise<void>((resolve) => clock.after(ROOM_POLL_MS, resolve));
    }
  }

  /** An engine without a log is worth more than none: a full disk does not keep it from starting. */
  private openLog(): number {
    try {
      return openLog(this.logPath);
    } catch (error) {
      const { engineId, logPath } = this;
      this.options.logger.error(
        { engine: engineId, log: logPath, err: error },
        'what the engine prints cannot be kept',
      );
      return openSync('/dev/null', 'a');
    }
  }

  /** Writes the record by which the next run finds the process; on a full disk again and again until it stands. */
  private keepRecord(process: EngineProcess, record: RunRecord, told = false): void {
    if (this.process !== process || !this.wanted) return;
    try {
      writeRunRecord(this.recordPath, record);
    } catch (error) {
      if (!told) {
        const fields = { engine: this.engineId, pid: process.pid, record: this.recordPath, err: error };
        this.options.logger.error(
          fields,
          'the engine serves, but could not be found again after a restart; tried again',
        );
      }
      this.options.clock.after(RECORD_RETRY_MS, () => this.keepRecord(process, record, true));
    }
  }

  /** Polls until the server answers; false when it has ended or was told to stop. The start ends by force when it takes too long. */
  private async untilServing(process: EngineProcess): Promise<boolean> {
    const { clock, launch, tls, startLimitMs = DEFAULT_START_LIMIT_MS, graceMs = DEFAULT_GRACE_MS } = this.options;
    let ended = false;
    void process.ended.then(() => {
      ended = true;
    });
    const client = new VllmClient({ url: launch.url, tls });
    const untilMs = clock.nowMs() + startLimitMs;
    try {
      while (!ended && this.wanted) {
        if ((await client.health(2_000)).ok) {
          // A server that is told to end may answer until it is gone.
          if (!this.wanted) return false;
          this.current = 'serving';
          this.servingSinceMs = clock.nowMs();
          this.lastFailure = undefined;
          this.backoff.serving(clock.nowMs());
          return true;
        }
        if (clock.nowMs() >= untilMs) {
          this.lastFailure = `did not serve within ${Math.round(startLimitMs / 1000)} s`;
          await endGroup(process.pid, graceMs, clock);
          return false;
        }
        await new Promise<void>((resolve) => clock.after(READY_POLL_MS, resolve));
      }
      return false;
    } finally {
      await client.close();
    }
  }

  private async settle(
    pid: number,
    exit: { readonly code: number | null; readonly signal: string | null },
    served: boolean,
  ): Promise<void> {
    const { clock, logger } = this.options;
    this.process = undefined;
    forgetRunRecord(this.recordPath);
    if (!served) this.options.mayStart?.(true);
    const { retiring } = this;
    this.retiring = false;
    const reason = classifyExit({ ...exit, asked: retiring || !this.wanted, served, logTail: logTail(this.logPath) });
    this.exits.set(reason, (this.exits.get(reason) ?? 0) + 1);
    const orphans = await sweepGroup(pid, clock);
    if (!this.wanted) return;
    if (retiring) {
      this.current = 'waiting';
      return;
    }
    this.lastFailure = `ended: ${reason}`;
    const fields = { engine: this.engineId, pid, reason, ...exit, orphans, log: this.logPath };
    if (isHopeless(reason)) {
      this.current = 'given-up';
      logger.error(fields, 'the engine does not start with its command line; correct the fleet file and restart');
      return new Promise((resolve) => {
        this.wakeRetry = resolve;
      });
    }
    const waitMs = this.backoff.failed(clock.nowMs());
    logger.warn({ ...fields, waitMs }, 'the engine has ended and is started again');
    await this.pause(waitMs);
  }

  private pause(waitMs: number): Promise<void> {
    // Weights whose fetch has failed are still to come, and nobody knows when.
    if (this.current !== 'fetching') this.current = 'waiting';
    return new Promise((resolve) => {
      this.wakeRetry = resolve;
      this.retry = this.options.clock.after(waitMs, resolve);
    });
  }
}
