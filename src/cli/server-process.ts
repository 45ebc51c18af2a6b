import { setFlagsFromString } from 'node:v8';
import { renderFailure } from './output.js';

/** What a process that serves asks of Node. */
export function prepareProcess(): void {
  // Other commands end with their reader; a server outlives whoever reads what it prints (`maestro up | head`).
  for (const stream of [process.stdout, process.stderr])
    stream.removeAllListeners('error').on('error', () => undefined);
  // V8 notices that workflows and decision records live long, and would then make them in the old generation at once. There, until a full collection
  // comes, whatever they refer to lives on as well, closed requests with all their parts, which doubled what a collection costs.
  setFlagsFromString('--no-allocation-site-pretenuring');
  // Node copies the pieces of every body into memory beside the heap, which V8 counts as if all of it lived long: with large prompts it went through the whole
  // heap every second. It may become three times what lives before that; V8's own choice lies between 1.1 and 4 times.
  setFlagsFromString('--heap-growing-percent=200');
  // What a request leaves behind is a few milliseconds of work for the collector, thirty times a second. Helpers need more time to be woken, and then look for work, than they take
  // off this thread; and a collection that comes in a pause, when four fifths of the room are used, comes that much too early.
  setFlagsFromString('--no-parallel-scavenge');
  setFlagsFromString('--no-minor-gc-task');
}

/**
 * Runs `stop` once on SIGINT or SIGTERM and then exits; a second signal exits at once. So does SIGHUP where a terminal closes, or nothing can be reloaded; else it reloads.
 *
 * @param onSignal Called first, for a word to the user.
 * @param abandon Called at the second, for what must not be left behind.
 */
export function stopOnSignal(
  stop: () => Promise<void>,
  onSignal: () => void,
  abandon: () => void,
  reload?: () => void,
): void {
  let stopping = false;
  const handle = () => {
    if (stopping) {
      abandon();
      process.exit(130);
    }
    stopping = true;
    onSignal();
    stop().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`${renderFailure(error)}\n`);
        process.exit(1);
      },
    );
  };
  process.on('SIGINT', handle);
  process.on('SIGTERM', handle);
  process.on('SIGHUP', reload && !process.stdout.isTTY ? reload : handle);
}
