import { describe, expect, it } from 'vitest';
import type { DecisionRecord } from '../../src/bus/contract.js';
import { completed, FIRST_CONTEXT, makePrediction, makeStage } from '../../test/stage-fixture.js';
import { fieldsOf, importFiles, SECRET, sourceFile } from './import-fixture.js';

/** A record as `observe.decisionLog` gets it. */
function record(
  stageId: string,
  arrivalMs: number,
  durationMs: number,
  stage: Parameters<typeof makeStage>[0] = {},
  outcome: Partial<NonNullable<DecisionRecord['outcome']>> = {},
): DecisionRecord {
  return {
    stage: makeStage({ stageId, workflowId: 'w', arrivalMs, deadlineMs: 61_000, role: 'writer', ...stage }),
    identitySource: 'maestro-headers',
    context: FIRST_CONTEXT,
    prediction: makePrediction(),
    policy: 'fcfs',
    orderKey: 0,
    attempts: 1,
    outcome: completed(30, { promptTokens: 900, durationMs, ttftMs: 5, ...outcome }),
  };
}

describe('decision-log', () => {
  it('makes a trace of what was served: a call waits for those of its workflow that had ended when it came', async () => {
    const log = sourceFile(
      'decisions.jsonl',
      record('b', 1_400, 100, {}, { outputTokens: 50 }),
      record('a', 1_000, 300),
      record('c', 1_450, 100, { choices: 4 }, { outputTokens: 400 }),
      record('d', 2_000, 10, { outputLimited: true, maxTokens: 64 }),
      record('other', 1_200, 5_000, { workflowId: 'v' }),
    );
    const trace = await importFiles('decision-log', [log]);
    expect(
      fieldsOf(trace, 'request_id', 'workflow_id', 'timestamp', 'wait_for', 'delay', 'input_length', 'output_length'),
    ).toEqual([
      ['a', 'w', 0, undefined, undefined, 900, 30],
      ['b', 'w', undefined, ['a'], 100, 900, 50],
      ['c', 'w', undefined, ['a'], 150, 900, 100],
      ['d', 'w', undefined, ['b', 'c'], 450, 900, 30],
      ['other', 'v', 200, undefined, undefined, 900, 30],
    ]);
    expect(trace.rows[3]).toMatchObject({ role: 'writer', class: 'interactive', deadline_ms: 60_000, max_tokens: 64 });
  });

  it('leaves out what did not run to its end, and text where a name should be', async () => {
    const log = sourceFile(
      'decisions.jsonl',
      record('failed', 0, 1, {}, { kind: 'engine_failed' }),
      record('silent', 0, 1, {}, { outputTokens: undefined }),
      { ...record('open', 0, 1), outcome: undefined },
      record('embedding', 0, 1, { maxTokens: 0 }),
      record('kept', 0, 1, { role: `${SECRET} with spaces` }),
      record('kept', 5, 1),
    );
    const trace = await importFiles('decision-log', [log]);
    expect(fieldsOf(trace, 'request_id')).toEqual([['kept'], ['kept~2']]);
  });

  it('says where a line is no decision record', async () => {
    const log = sourceFile('decisions.jsonl', record('a', 0, 1), { stage: { stageId: 'x' } });
    await expect(importFiles('decision-log', [log])).rejects.toThrow(
      'decisions.jsonl: line 2: no decision record: stage.',
    );
  });
});
