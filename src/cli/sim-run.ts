import { writeFile } from 'node:fs/promises';
import { stagesCsv } from '../../sim/detail/csv.js';
import { explainWorkflow, type WorkflowStory } from '../../sim/detail/explain.js';
import { perfettoTrace } from '../../sim/detail/perfetto.js';
import { writeReport } from '../../sim/report/index.js';
import { renderJson } from '../../sim/report/json.js';
import { runSimulation } from '../../sim/simulation.js';
import { scenarioOf } from '../../sim/sweep/run-cell.js';
import type { SweepCell, SweepWorkload } from '../../sim/sweep/types.js';
import type { SimResult } from '../../sim/types.js';
import { MaestroError } from '../model/error.js';
import { printJson, renderTable } from './output.js';
import { packageVersion } from './package-files.js';

/** What to tell of a single run. */
export interface RunDetails {
  /** Id of a workflow whose story is printed, as one JSON document with `json`. */
  readonly explain?: string;
  readonly json?: boolean;
  /** File for a trace of ui.perfetto.dev. */
  readonly perfetto?: string;
  /** File with a line for each request: CSV, or JSON where the name ends so. */
  readonly detail?: string;
  /** Folder for the SLO report of the run. */
  readonly out?: string;
}

export function wantsDetails({ explain, perfetto, detail }: RunDetails): boolean {
  return explain !== undefined || perfetto !== undefined || detail !== undefined;
}

/** Plays one run of a sweep and keeps every stage of it. */
export async function tellRun(
  workload: SweepWorkload,
  cell: SweepCell,
  command: string,
  details: RunDetails,
): Promise<void> {
  const result = runSimulation(scenarioOf(workload, cell, 'timeline'));
  const { explain, json, perfetto, detail, out } = details;
  if (explain !== undefined) {
    const story = storyOf(result, explain);
    if (json) printJson(story);
    else
      process.stdout.write(
        `${[...story.summary, '', 'times in ms, lengths in tokens', stageTable(story)].join('\n')}\n`,
      );
  }
  if (detail !== undefined) {
    const { workflows, stages } = result;
    await writeFile(detail, detail.endsWith('.json') ? renderJson({ workflows, stages }) : stagesCsv(stages));
    process.stderr.write(`${stages.length} requests: ${detail}\n`);
  }
  if (perfetto !== undefined) {
    await writeFile(perfetto, JSON.stringify(perfettoTrace(result)));
    process.stderr.write(`trace for https://ui.perfetto.dev: ${perfetto}\n`);
  }
  if (out === undefined) return;
  const lastArrivalMs = result.workflows.reduce((last, { arrivalMs }) => Math.max(last, arrivalMs), 0);
  const { htmlPath } = await writeReport(out, {
    title: `${workload.name}: ${cell.policy} at load ${cell.load}`,
    subtitle: `simulated; deadlines ${cell.deadlineRule}, placement ${cell.placement}, seed ${cell.seed}`,
    command,
    seed: cell.seed,
    machine: 'simulated',
    startedAt: null,
    timeScale: 1,
    durationMs: result.counters.simulatedMs,
    warmupMs: workload.warmupShare * lastArrivalMs,
    trace: workload.name,
    notes: [
      `Played by maestro ${packageVersion()}.`,
      'Simulated: the clock of the run starts at zero, and the gaps between tokens are the mean of their call.',
    ],
    classes: [...workload.classes],
    workflows: [...result.workflows],
    stages: [...result.stages],
    fleet: result.fleet,
  });
  process.stderr.write(`report of the run: ${htmlPath} (.md, .json)\n`);
}

function storyOf(result: SimResult, workflowId: string): WorkflowStory {
  const story = explainWorkflow(result, workflowId);
  if (story) return story;
  const some = result.workflows.slice(0, 5).map((workflow) => workflow.workflowId);
  throw new MaestroError(
    'invalid_request',
    `This run has no workflow "${workflowId}". Some that it has: ${some.join(', ')}.`,
  );
}

function stageTable({ stages }: WorkflowStory): string {
  const ms = (value: number | undefined) => (value === undefined ? '' : String(Math.round(value)));
  return renderTable(
    [
      ...[{ title: 'stage' }, { title: 'model' }, { title: 'engine' }],
      ...['sent', 'queue', 'cold start', 'prefill', 'decode', 'prompt', 'cached', 'output', 'before it'].map(
        (title) => ({ title, align: 'right' }) as const,
      ),
      { title: 'outcome' },
    ],
    stages.map(({ stage, sentMs, prefillMs, decodeMs, overtakenBy: { older, younger } }) => [
      `${stage.stageId} ${stage.role}`,
      stage.model,
      stage.engine ?? '',
      ms(sentMs),
      ms(stage.queueMs),
      ms(stage.coldStartMs),
      ms(prefillMs),
      ms(decodeMs),
      String(stage.promptTokens),
      String(stage.cachedTokens ?? ''),
      String(stage.outputTokens),
      `${older} older, ${younger} younger`,
      stage.outcome,
    ]),
  );
}
