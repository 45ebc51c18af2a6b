import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Clock } from '../../model/clock.js';
import { makeFolder } from '../../observe/make-folder.js';
import { missingOf } from '../staging/whole-checkpoint.js';
import { type EngineProcess, endGroup, signalGroup, spawnEngine } from './engine-process.js';
import { logTail, openLog } from './log-file.js';
import { processEntry } from './process-table.js';
import { bootId, forgetRunRecord, readLiveRunRecord, writeRunRecord } from './run-record.js';
import type { StartLocks } from './start-locks.js';

export interface WeightFetchOptions {
  readonly engineId: string;
  /** The program and its arguments. */
  readonly command: readonly string[];
  /** Where it puts the checkpoint. */
  readonly folder: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly logPath: string;
  /** Shared by all of a node, which fetches one checkpoint at a time: two would share the network, and both be late. */
  readonly turns: StartLocks;
  readonly clock: Clock;
  readonly logger: { info(fields: object, message: string): void };
  /** Between SIGTERM and SIGKILL. */
  readonly graceMs?: number;
}

/** The one turn that all of a node wait for. */
const NODE = [0];
const DEFAULT_GRACE_MS = 10_000;

/**
 * Brings the weights of an engine onto the node: runs a command of the fleet file, such as a download from Hugging Face or an object store, until their folder holds a checkpoint. While it runs a record
 * of it stands beside the folder; one that is found there means that the last fetch was broken off, and the command is run again.
 */
export class WeightFetch {
  private process: EngineProcess | undefined;
  private over = false;

  constructor(private readonly options: WeightFetchOptions) {}

  /** Resolves when the weights are there, at once if they are already, or {@link end} was called. Rejects when the command has failed, or has not brought what was needed. */
  async bring(): Promise<void> {
    const { turns, folder } = this.options;
    this.over = false;
    if ((await this.missing()) === undefined) return;
    await turns.hold(NODE, async () => {
      // Another engine of the same weights may have brought them meanwhile.
      if (this.over || (await this.missing()) === undefined) return;
      await this.fetch();
      if (this.over) return;
      const missing = await missingOf(folder);
      if (missing !== undefined) throw new Error(`the fetch of the weights ended well, but ${missing}`);
      forgetRunRecord(this.recordPath);
    });
  }

  /** Breaks a fetch off; what it has brought so far stays. */
  async end(): Promise<void> {
    this.over = true;
    if (this.process) await endGroup(this.process.pid, this.graceMs, this.options.clock);
  }

  /** Tells the command to end and waits for nothing. */
  endAtOnce(): void {
    this.over = true;
    if (this.process) signalGroup(this.process.pid, 'SIGTERM');
  }

  private get graceMs(): number {
    return this.options.graceMs ?? DEFAULT_GRACE_MS;
  }

  private get recordPath(): string {
    return `${this.options.folder}.fetching`;
  }

  private async missing(): Promise<string | undefined> {
    return existsSync(this.recordPath) ? 'the last fetch was broken off' : missingOf(this.options.folder);
  }

  private async fetch(): Promise<void> {
    const { engineId, command, folder, environment, logPath, clock, logger } = this.options;
    const fields = { engine: engineId, folder, log: logPath };
    makeFolder(dirname(folder));
    // An earlier run of this program was killed, and its command goes on.
    const left = readLiveRunRecord(this.recordPath);
    if (left) await endGroup(left.pid, this.graceMs, clock);
    if (this.over) return;
    const beganMs = clock.nowMs();
    logger.info(fields, 'the weights of the engine are fetched');
    const process = await spawnEngine({ command, env: environment, logFile: openLog(logPath) });
    this.process = process;
    try {
      const startTicks = processEntry(process.pid)?.startTicks ?? 0;
      writeRunRecord(this.recordPath, {
        engineId,
        pid: process.pid,
        startTicks,
        bootId: bootId(),
        command: [...command],
      });
    } catch (error) {
      await endGroup(process.pid, this.graceMs, clock);
      throw error;
    }
    // Told to end before the process was there.
    if (this.over) await endGroup(process.pid, this.graceMs, clock);
    const { code, signal } = await process.ended;
    this.process = undefined;
    if (this.over) return;
    if (code !== 0) {
      const last = logTail(logPath).trim().split('\n').at(-1) ?? '';
      throw new Error(`the weights could not be fetched (${signal ?? `exit code ${code}`}): ${last}`);
    }
    logger.info({ ...fields, seconds: Math.round((clock.nowMs() - beganMs) / 1000) }, 'the weights have come');
  }
}
