import { describe, expect, it } from 'vitest';
import { randomWorkflows, SMALL_FLEET, testScenario } from '../../test/sim-scenario.js';
import { stage, workflow } from '../report/records-fixture.js';
import { runSimulation } from '../simulation.js';
import type { SimResult } from '../types.js';
import { stagesCsv } from './csv.js';
import { explainWorkflow } from './explain.js';
import { perfettoTrace } from './perfetto.js';

const result = runSimulation(testScenario(SMALL_FLEET, randomWorkflows(30, 2), { detail: 'timeline' }));

describe('stagesCsv', () => {
  it('has a line for every stage, with as many fields as the header', () => {
    const lines = stagesCsv(result.stages).trimEnd().split('\n');
    expect(lines).toHaveLength(result.stages.length + 1);
    expect(new Set(lines.map((line) => line.split(',').length))).toEqual(new Set([17]));
    expect(lines[1]!.split(',')[0]).toBe(result.stages[0]!.stageId);
  });

  it('quotes what needs it, rounds to the microsecond, and leaves empty what is not known', () => {
    const odd = stage({ role: 'say "a, b"', startMs: 1 / 3, firstTokenMs: undefined, engine: undefined });
    const line = stagesCsv([odd]).split('\n')[1]!;
    expect(line).toContain(',"say ""a, b""",');
    expect(line).toContain(',0.333,');
    expect(line).toContain(',,1000,50,');
  });
});

describe('explainWorkflow', () => {
  it('tells each stage in the order of sending, in parts that add up to its time', () => {
    const { workflowId, arrivalMs } = result.workflows[7]!;
    const story = explainWorkflow(result, workflowId)!;
    expect(story.stages.map(({ stage: { stageId } }) => stageId).sort()).toEqual(
      result.stages.flatMap((each) => (each.workflowId === workflowId ? each.stageId : [])).sort(),
    );
    let lastMs = 0;
    for (const { stage: own, sentMs, prefillMs, decodeMs } of story.stages) {
      expect(sentMs).toBeGreaterThanOrEqual(lastMs);
      lastMs = sentMs;
      expect(sentMs).toBeCloseTo(own.startMs - arrivalMs, 6);
      expect(own.queueMs! + own.coldStartMs! + prefillMs! + decodeMs!).toBeCloseTo(own.endMs - own.startMs, 6);
    }
    expect(explainWorkflow(result, 'nobody')).toBeUndefined();
  });

  it('counts who was begun while it waited, by who was sent first', () => {
    const own = stage({ startMs: 100, queueMs: 500, endMs: 1000, firstTokenMs: 700 });
    const other = (about: object) => stage({ workflowId: 'w2', ...about });
    const stages = [
      own,
      other({ stageId: 'older', startMs: 50, queueMs: 200 }),
      other({ stageId: 'younger', startMs: 200, queueMs: 10 }),
      other({ stageId: 'youngest', startMs: 300, queueMs: 10 }),
      other({ stageId: 'too-late', startMs: 200, queueMs: 900 }),
      other({ stageId: 'another-model', startMs: 200, queueMs: 10, model: 'x' }),
    ];
    const run = { workflows: [workflow({ deadlineMs: 900, met: false })], stages, counters: { simulatedMs: 2000 } };
    const { stages: told, summary } = explainWorkflow(run as unknown as SimResult, 'w1')!;
    expect(told[0]!.overtakenBy).toEqual({ older: 1, younger: 2 });
    expect(summary.join('\n')).toContain('late, 0.10 s after its deadline');
  });
});

describe('perfettoTrace', () => {
  const { traceEvents } = perfettoTrace(result);

  it('ends every span that it begins, no earlier', () => {
    const open = new Map<string, { name: string; ts: number }[]>();
    for (const { ph, pid, cat, id, name, ts } of traceEvents) {
      if (ph !== 'b' && ph !== 'e') continue;
      const key = `${pid} ${cat} ${id}`;
      const spans = open.get(key) ?? [];
      open.set(key, spans);
      if (ph === 'b') spans.push({ name, ts: ts! });
      else {
        const begun = spans.pop()!;
        expect(begun.name).toBe(name);
        expect(ts!).toBeGreaterThanOrEqual(begun.ts);
      }
    }
    expect([...open.values()].flat()).toEqual([]);
  });

  it('has workflows, the nodes, and counters of their engines', () => {
    const names = traceEvents.flatMap(({ ph, args }) => (ph === 'M' ? [args!['name']] : []));
    expect(names).toEqual(['workflows', 'node a', 'node b']);
    const counters = new Set(traceEvents.flatMap(({ ph, name }) => (ph === 'C' ? [name] : [])));
    expect(counters).toContain('a-8b requests');
    expect(counters).toContain('b-8b KV tokens');
    const workflows = traceEvents.filter(({ ph, cat }) => ph === 'b' && cat === 'workflow');
    expect(workflows).toHaveLength(result.workflows.filter(({ endMs }) => endMs !== undefined).length);
  });
});
