import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // Far more than any test takes: a busy machine is no failure.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 20_000 } },
    reporters: ['default', './test/closing-line-reporter.ts'],
    // Left to itself, vitest plays one file after the other on two cores; tests with processes mostly wait.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // One process plays many files: to start it and to load the house costs more than most of the tests.
    isolate: false,
    // In the order of their names: what takes longest begins first.
    projects: [
      { extends: true, test: { name: 'system', include: ['test/**/*.test.ts'], globalSetup: './test/build.ts' } },
      { extends: true, test: { name: 'unit', include: ['{src,sim,traces,bench}/**/*.test.ts'] } },
    ],
  },
});
