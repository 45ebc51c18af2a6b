import type { ReplayStage } from '../../src/global/portfolio/replay.js';
import { DEFAULT_BLOCK_TOKENS } from '../../src/model/memory.js';

/** Blocks of a prompt as runs of consecutive ids. */
export type BlockRuns = readonly (readonly [firstId: number, count: number])[];

/** Longest prefix that first stages of a template can share in a replay, in blocks. */
const MAX_TEMPLATE_BLOCKS = 1 << 16;

/** Gives out block ids: shared ones for what prompts share, new ones for the rest. */
export class BlockIds {
  private next = 0;
  private readonly templates = new Map<string, number>();

  /** @param earlier Prompts of the stages before it in its workflow. */
  prompt(stage: ReplayStage, template: string, earlier: readonly BlockRuns[]): BlockRuns {
    const blocks = Math.ceil(stage.promptTokens / DEFAULT_BLOCK_TOKENS);
    const shared = Math.min(blocks, Math.floor(stage.sharedTokens / DEFAULT_BLOCK_TOKENS));
    const prefix =
      stage.prefixOf === undefined
        ? this.templatePrefix(template, shared)
        : leading(earlier[stage.prefixOf] ?? [], shared);
    const known = prefix.reduce((sum, [, count]) => sum + count, 0);
    return known < blocks ? [...prefix, [this.take(blocks - known), blocks - known]] : prefix;
  }

  private templatePrefix(template: string, blocks: number): BlockRuns {
    if (blocks === 0) return [];
    let firstId = this.templates.get(template);
    if (firstId === undefined) {
      firstId = this.take(MAX_TEMPLATE_BLOCKS);
      this.templates.set(template, firstId);
    }
    return [[firstId, Math.min(blocks, MAX_TEMPLATE_BLOCKS)]];
  }

  private take(count: number): number {
    const first = this.next;
    this.next += count;
    return first;
  }
}

function leading(runs: BlockRuns, blocks: number): BlockRuns {
  const taken: [number, number][] = [];
  let left = blocks;
  for (const [firstId, count] of runs) {
    if (left === 0) break;
    taken.push([firstId, Math.min(count, left)]);
    left -= Math.min(count, left);
  }
  return taken;
}
