// `vllm serve`, emulated: takes the command line that Maestro writes for vLLM, and runs `maestro emulate` in this process with what that knows of it.
const [model, ...flags] = process.argv.slice(2);
// Five times as fast as the model it emulates. Of these flags the emulator knows nothing; each has one value.
const UNKNOWN = new Set(['--gpu-memory-utilization', '--tensor-parallel-size']);
const known = flags.filter((_, index) => !UNKNOWN.has(flags[index]) && !UNKNOWN.has(flags[index - 1]));
process.argv = [
  ...process.argv.slice(0, 2),
  'emulate',
  '--model',
  model,
  '--gpu',
  'h100-sxm',
  '--time-scale',
  '5',
  ...known,
];
await import('../../dist/src/cli/main.js');
