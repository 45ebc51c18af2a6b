import { join } from 'node:path';
import type { EngineSpec, NodeSpec, WeightFiles } from '../../model/fleet.js';
import type { NodeAction, StagingEvent } from '../../node/actions.js';
import { WeightStore } from './weight-store.js';

/** The few log calls that are used here; a pino logger fits. */
export type StagerLogger = Record<'info' | 'warn', (fields: object, message: string) => void>;

/** The copies of checkpoints of one node, live: carries out what the node's manager wants of them, and tells what has come of it. */
export class Stager {
  private readonly store: WeightStore;
  private readonly sources: readonly string[];

  constructor(
    { nodeId, engines }: NodeSpec,
    staging: NonNullable<NodeSpec['staging']>,
    private readonly logger: StagerLogger,
    private readonly tell: (event: StagingEvent) => void,
  ) {
    // Nodes that share a host keep their copies apart.
    this.store = new WeightStore({ ...staging, folder: join(staging.folder, nodeId) });
    this.sources = [...new Set(engines.flatMap(({ weightsFolder }) => weightsFolder ?? []))];
  }

  /** Takes over what an earlier run has left. A folder that cannot be used is told, and every copy fails. */
  async open(): Promise<void> {
    try {
      for (const [folder, bytes] of await this.store.open(this.sources)) this.tell({ kind: 'staged', folder, bytes });
    } catch (error) {
      this.logger.warn({ err: error }, 'the folder for copies of weights cannot be used');
    }
  }

  async carryOut({ kind, folder }: Extract<NodeAction, { kind: 'stage' | 'unstage' }>): Promise<void> {
    if (kind === 'unstage') {
      await this.store.drop(folder).catch((error: unknown) => {
        this.logger.warn({ folder, err: error }, 'the copy of the weights cannot be deleted');
      });
      this.tell({ kind: 'unstaged', folder });
      return;
    }
    const startedMs = performance.now();
    const reply = await this.store.stage(folder);
    const { bytes } = reply;
    if (reply.ok) {
      this.logger.info({ folder, bytes, wallMs: Math.round(performance.now() - startedMs) }, 'weights copied into RAM');
      this.tell({ kind: 'staged', folder, bytes: reply.bytes });
    } else {
      this.logger.warn({ folder, bytes, failure: reply.message }, 'weights cannot be copied into RAM');
      this.tell({ kind: 'stage-failed', folder, ...(bytes === undefined ? {} : { bytes }) });
    }
  }

  /** The folder that a level-2 wake reads. Always named where it may ever be the copy: vLLM keeps the last one that it was told. A copy that is not sound is thrown away. */
  async folderFor({ weightsFolder }: EngineSpec, from: WeightFiles): Promise<string | undefined> {
    if (weightsFolder === undefined || from === 'disk') return weightsFolder;
    if (await this.store.isSound(weightsFolder)) return this.store.pathOf(weightsFolder);
    this.logger.warn(
      { folder: weightsFolder },
      'the copy of the weights in RAM is not whole, or the files have changed',
    );
    await this.carryOut({ kind: 'unstage', folder: weightsFolder });
    return weightsFolder;
  }

  close(): void {
    this.store.close();
  }

  /** The node is gone, and nobody reads its copies any more. */
  async clear(): Promise<void> {
    await this.store.clear().catch((error: unknown) => {
      this.logger.warn({ err: error }, 'the copies of weights cannot be deleted');
    });
  }
}
