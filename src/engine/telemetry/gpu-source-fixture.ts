import type { GpuReading, GpuSource } from './gpu-source.js';

/** GPUs that a test makes up. */
export class FakeGpuSource implements GpuSource {
  readonly name = 'fake';

  constructor(public next: readonly GpuReading[] | Error) {}

  async read(): Promise<readonly GpuReading[]> {
    if (this.next instanceof Error) throw this.next;
    return this.next;
  }
}
