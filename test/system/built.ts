import { join } from 'node:path';

/** The root of the repository, where processes run that read files of it by their path. */
export const ROOT = join(import.meta.dirname, '..', '..');

/** Maestro's command line as it was built before the tests began (`test/build.ts`): from its source, a process takes three times as long to start. */
export const MAESTRO = join(ROOT, 'dist/src/cli/main.js');

/** What a launch contract names as its program: an emulated engine that takes the flags of `vllm serve`. */
export const EMULATED_VLLM = [process.execPath, join(import.meta.dirname, 'emulated-vllm.mjs')];
