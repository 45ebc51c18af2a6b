import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { composeFile } from './compose/compose.js';
import { readTrace } from './reader.js';
import { traceStats } from './stats.js';

const MAX_TOTAL_BYTES = 3_000_000;

const folder = fileURLToPath(new URL('data', import.meta.url));
const traces = readdirSync(folder).filter((name) => name.endsWith('.jsonl.gz'));

describe('shipped traces', () => {
  it('are small', () => {
    const bytes = traces.reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
    expect(traces.length).toBeGreaterThanOrEqual(5);
    expect(bytes).toBeLessThan(MAX_TOTAL_BYTES);
  });

  // The strict reader refuses fields that could carry text.
  it.each<[string, number, number]>([
    ['azure-llm-2023.jsonl.gz', 19_729, 19_729],
    ['mooncake-fast25.jsonl.gz', 8421, 8421],
    ['marble.jsonl.gz', 925, 35_477],
    ['kv-cache-tester.jsonl.gz', 462, 30_945],
  ])('%s reads strictly and is whole', async (name, workflows, stages) => {
    const { header, rows } = await readTrace(join(folder, name));
    expect(header?.licence).toBeTruthy();
    expect(traceStats(rows)).toMatchObject({ workflows, stages });
  });

  it('the demo trace is what its spec makes, and has the size of a demo', async () => {
    const { header, rows } = await readTrace(join(folder, 'demo.jsonl.gz'));
    expect(await composeFile(join(folder, '..', 'specs', 'demo.yaml'))).toEqual({ header, rows });
    const stats = traceStats(rows);
    expect(stats.workflows).toBeGreaterThanOrEqual(60);
    expect(stats.workflows).toBeLessThanOrEqual(110);
    expect(stats.stages).toBeGreaterThanOrEqual(600);
    expect(stats.stages).toBeLessThanOrEqual(1500);
    expect(Object.keys(stats.models)).toHaveLength(5);
    expect(stats.inputTokens!.max).toBeLessThanOrEqual(24_000);
  });
});
