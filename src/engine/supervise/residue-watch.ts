/** What a sleeping process may hold more than it once did, bytes. Source: a leaking one grows by about 3 GiB per sleep (vLLM #21336), the readings of a sound one differ by less than 0.2 GiB. */
const GROWTH_BYTES = 2 * 1024 ** 3;
/** So many readings in a row, for one may fall into a transition. */
const READINGS = 3;

interface Residue {
  readonly pid: number;
  /** The least that this process has held asleep: its CUDA context, graphs and communication buffers. */
  leastBytes: number;
  grown: number;
}

/** Finds engines whose processes hold more and more GPU memory while they sleep; only a new process gives it back. */
export class ResidueWatch {
  private readonly residues = new Map<string, Residue>();

  /** A reading of a sleeping engine. Bytes by which its residue has grown, once that is certain; 0 until then. */
  observe(engineId: string, pid: number, usedBytes: number): number {
    let residue = this.residues.get(engineId);
    if (residue?.pid !== pid) {
      residue = { pid, leastBytes: usedBytes, grown: 0 };
      this.residues.set(engineId, residue);
    }
    residue.leastBytes = Math.min(residue.leastBytes, usedBytes);
    const growth = usedBytes - residue.leastBytes;
    residue.grown = growth > GROWTH_BYTES ? residue.grown + 1 : 0;
    return residue.grown >= READINGS ? growth : 0;
  }
}
