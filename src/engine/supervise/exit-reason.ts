/**
 * Why an engine process ended:
 * - `stopped`: it was told to; - `bad-arguments`: it never served and said that its configuration is wrong: trying again is useless;
 * - `port-taken`: somebody else listens on its port; - `no-room`: too little GPU memory at start, or another process gave memory back while it measured;
 * - `out-of-memory`: it ran out of GPU or host memory; - `engine-died`: the engine under its API server died; - `killed`: by somebody's signal;
 * - `crashed`: anything else.
 */
const EXIT_REASONS = [
  'stopped',
  'bad-arguments',
  'port-taken',
  'no-room',
  'out-of-memory',
  'engine-died',
  'killed',
  'crashed',
] as const;
export type ExitReason = (typeof EXIT_REASONS)[number];

/** What is known of a process that has ended. */
export interface EndedProcess {
  readonly code: number | null;
  readonly signal: string | null;
  /** It had been told to stop. */
  readonly asked: boolean;
  /** It had answered `/health` before. */
  readonly served: boolean;
  /** The last lines of its log. */
  readonly logTail: string;
}

/** Phrases of vLLM's log, the most telling first. The start-up guard and profiling errors are those of `vllm/v1/worker`. */
const PHRASES: readonly (readonly [RegExp, ExitReason])[] = [
  [/address already in use|EADDRINUSE/i, 'port-taken'],
  [
    /Free memory on device.*less than desired|Error in memory profiling|No available memory for the cache blocks/s,
    'no-room',
  ],
  [/CUDA out of memory|torch\.OutOfMemoryError|cannot allocate memory|MemoryError/i, 'out-of-memory'],
  [
    /EngineDeadError|Engine core proc .* died|EngineCore encountered a fatal error|EngineCore.*failed to start/i,
    'engine-died',
  ],
  [
    /error: (unrecognized arguments|argument |the following arguments)|pydantic.*ValidationError|ValueError: /,
    'bad-arguments',
  ],
];

/**
 * Reads an exit. Exit code 0 proves nothing: vLLM ends with 0 both after SIGTERM and after its engine has died, so a process that was not asked to stop has
 * failed whatever its code says.
 */
export function classifyExit({ code, signal, asked, served, logTail }: EndedProcess): ExitReason {
  if (asked) return 'stopped';
  for (const [phrase, reason] of PHRASES) {
    if (!phrase.test(logTail)) continue;
    // A ValueError of a process that has served is a bug of one request, not of its command line.
    if (reason === 'bad-arguments' && served) continue;
    return reason;
  }
  // argparse ends with 2.
  if (!served && code === 2) return 'bad-arguments';
  if (code === 0 && served) return 'engine-died';
  // 137 and 143 are how a shell tells of SIGKILL and SIGTERM.
  if (signal === 'SIGKILL' || signal === 'SIGTERM' || code === 137 || code === 143) return 'killed';
  return 'crashed';
}

/** Would the same command fail again for the same reason? */
export function isHopeless(reason: ExitReason): boolean {
  return reason === 'bad-arguments';
}
