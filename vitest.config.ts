import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{src,sim,traces,bench,test}/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    reporters: ['default', './test/closing-line-reporter.ts'],
  },
});
