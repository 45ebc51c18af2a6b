import { z } from 'zod';
import { isObject } from '../../src/model/json.js';
import { nextInt, type Rng } from '../../src/model/rng.js';
import type { TraceRow } from '../schema.js';
import { parseRecord, readRecords, type TraceImporter } from './importer.js';
import { leftOutField } from './left-out.js';
import { buildMarbleRows, type DraftRow, type MarbleConfig, type MarbleRun, marbleRun } from './marble-workflow.js';
import { fingerprint, plainName } from './names.js';
import { TokenCounter } from './tokens.js';

const config = z.object({
  scenario: z.string(),
  task: z.object({ content: z.string(), output_format: z.string().nullish() }),
  agents: z.array(z.object({ agent_id: z.string(), profile: z.string().nullish() })),
});

/** The scenario of a run, from the words its task starts with; for runs without a config. */
const SCENARIOS: readonly (readonly [RegExp, string])[] = [
  [/minecraft/i, 'minecraft'],
  [/database/i, 'database'],
  [/software development task/i, 'coding'],
  [/research/i, 'research'],
];

/**
 * Runs of MARBLE / MultiAgentBench: per iteration every agent acts in parallel, then a summary joins. Runs and configs may lie in any
 * files; a config is joined to its runs by the text of the task.
 */
export const marble: TraceImporter = {
  format: 'marble',
  summary: 'MARBLE (MultiAgentBench) run results: JSONL of iterations with agent results and summaries',
  async read(files, kept) {
    const { limitWorkflows, rng } = kept;
    const runs: { readonly run: MarbleRun; readonly origin: string }[] = [];
    const configs = new Map<string, MarbleConfig>();
    for (const file of files) {
      for await (const { record, line, origin } of readRecords(file)) {
        if (isObject(record) && Array.isArray(record.agents)) {
          const parsed = parseRecord(config, record, file, line, 'config: ');
          if (!parsed) continue;
          const { scenario, task, agents } = parsed;
          const profiles = new Map(agents.map(({ agent_id, profile }) => [agent_id, profile ?? '']));
          configs.set(task.content.trim(), { scenario, outputFormat: task.output_format ?? '', profiles });
        } else {
          const run = parseRecord(marbleRun, record, file, line);
          if (run) runs.push({ run, origin });
        }
      }
    }
    const counter = new TokenCounter();
    const drafts: DraftRow[] = [];
    const counts = new Map<string, number>();
    // Block ids are unique in the file: every run takes the next free ones.
    let nextBlockId = 0;
    const taken = runs.slice(0, limitWorkflows);
    let empty = 0;
    for (const { run, origin } of taken) {
      const known = configs.get(run.task.trim());
      const scenario =
        (known && plainName(known.scenario)) ?? SCENARIOS.find(([words]) => words.test(run.task))?.[1] ?? 'other';
      const number = (counts.get(scenario) ?? 0) + 1;
      counts.set(scenario, number);
      const built = buildMarbleRows(run, known, {
        workflowId: `marble-${scenario}-${number}`,
        template: `marble-${scenario}`,
        task: `marble-${fingerprint(run.task.trim())}`,
        model: modelOf(origin),
        count: (text) => counter.count(text),
        kept,
        nextBlockId,
      });
      if (built.rows.length === 0) empty += 1;
      for (const row of built.rows) drafts.push(row);
      nextBlockId = built.nextBlockId;
    }
    return {
      header: {
        maestro_trace: 1,
        source: 'ulab-uiuc/MARBLE, marble/result*/ and multiagentbench/',
        licence: 'MIT',
        notes: [
          'Recorded: who ran in which iteration, the texts of summaries, later assignments, messages, 9-37 % of the answers and all tool results.',
          'Derived: edges (agents of an iteration in parallel, joined by the summary), prompt tokens and prefix blocks (by the prompt rule of the framework), all token counts (texts counted with o200k_base).',
          'Sampled: output tokens of answers whose text is not recorded, from recorded answers of the same template and role.',
          'Not in the source: times and arrivals.',
        ],
        ...leftOutField([empty, taken.length, 'runs, in which no agent has a result']),
      },
      rows: sampleMissing(drafts, rng),
    };
  },
};

/** The model that the upstream file name states; undefined where it states none. */
function modelOf(origin: string): string | undefined {
  const words = origin.toLowerCase();
  if (/llama.?3\.?3.?70b|llama-33-70b/.test(words)) return 'llama-3.3-70b';
  if (/llama.?3\.?1.?70b|llama-31-70b/.test(words)) return 'llama-3.1-70b';
  if (/llama.?3\.?1.?8b|llama-31-8b/.test(words)) return 'llama-3.1-8b';
  if (/4o-?mini/.test(words)) return 'gpt-4o-mini';
  if (/gpt_?4o/.test(words)) return 'gpt-4o';
  if (/gpt-?3\.?5/.test(words)) return 'gpt-3.5-turbo';
  return undefined;
}

/** Gives rows without a recorded answer an output length drawn from recorded ones of the same template and role. */
function sampleMissing(drafts: readonly DraftRow[], rng: Rng): TraceRow[] {
  const seen = new Map<string, number[]>();
  const remember = (key: string, tokens: number) => {
    const list = seen.get(key);
    if (list) list.push(tokens);
    else seen.set(key, [tokens]);
  };
  for (const { row, outputTokens } of drafts) {
    if (outputTokens === undefined) continue;
    remember(`${row.template}/${row.role}`, outputTokens);
    remember(row.role!, outputTokens);
    remember('', outputTokens);
  }
  return drafts.map(({ row, outputTokens }) => {
    const { derived = [], ...rest } = row;
    if (outputTokens !== undefined) {
      return { ...rest, output_length: outputTokens, derived: [...derived, 'output_length:count:o200k_base'] };
    }
    const from = [`${row.template}/${row.role}`, row.role!, ''].find((key) => seen.has(key));
    const pool = from === undefined ? [1] : seen.get(from)!;
    const sampled = pool[nextInt(rng, pool.length)]!;
    return { ...rest, output_length: sampled, derived: [...derived, 'output_length:sample:role'] };
  });
}
