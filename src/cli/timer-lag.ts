import { monitorEventLoopDelay } from 'node:perf_hooks';

/** How often it looks, milliseconds. */
const RESOLUTION_MS = 10;
/** Delays of emulated time that are no more than what a quiet machine has anyway. */
const USUAL_MS = 1_000;

/**
 * Is the machine fast enough for a scaled clock? A process that gets no processor for a while is late by as many emulated milliseconds as the scale makes of it, and so
 * are the emulated engines beside it: calls then take longer than their model says.
 */
export class TimerLag {
  private readonly histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

  start(): void {
    this.histogram.enable();
  }

  /** By how much one timer in a hundred was late, milliseconds of wall time. */
  stop(): number {
    this.histogram.disable();
    return Math.max(0, this.histogram.percentile(99) / 1e6 - RESOLUTION_MS);
  }
}

/** What to say of a run in which one timer in a hundred was so late; undefined where that is as usual. */
export function slownessNote(lateMs: number, scale: number): string | undefined {
  const emulatedMs = lateMs * scale;
  if (emulatedMs <= USUAL_MS) return undefined;
  const emulated = scale === 1 ? '' : `, ${(emulatedMs / 1000).toFixed(1)} s of emulated time`;
  return (
    `This machine was busy with other things or is slow: one timer in a hundred came ${Math.round(lateMs)} ms late${emulated}. ` +
    'Calls took longer for it, and fewer workflows were in time, than on a quiet machine.'
  );
}
