/**
 * One cold start at a time on each GPU: vLLM measures free memory while it starts, and fails when another process takes or gives back memory meanwhile.
 * Sleeps on the GPU wait as well. First come, first served.
 */
export class StartLocks {
  private readonly tails = new Map<number, Promise<void>>();

  /** Runs `work` when all the GPUs are free of other starts; the lock ends with it, however it ends. */
  async hold<T>(gpus: readonly number[], work: () => Promise<T>): Promise<T> {
    // All GPUs are queued for in one step, so two starts can never wait for each other.
    const before = gpus.map((gpu) => this.tails.get(gpu));
    let release = () => {};
    const done = new Promise<void>((resolve) => {
      release = resolve;
    });
    for (const gpu of gpus) this.tails.set(gpu, done);
    try {
      await Promise.all(before);
      return await work();
    } finally {
      release();
      for (const gpu of gpus) if (this.tails.get(gpu) === done) this.tails.delete(gpu);
    }
  }

  /** Is some start under way, or waiting, on one of the GPUs? */
  busy(gpus: readonly number[]): boolean {
    return gpus.some((gpu) => this.tails.has(gpu));
  }
}
