import { describe, expect, it } from 'vitest';
import { StepCost } from '../../src/engine/step-time.js';
import { findGpu } from '../../src/model/gpu-catalogue.js';
import { findLlm } from '../../src/model/llm-catalogue.js';
import type { TraceRow } from '../schema.js';
import { groupWorkflows } from '../workflow.js';
import { isolatedDuration } from './isolated.js';

const SHAPE = {
  llm: findLlm('llama-3.1-8b')!,
  gpu: findGpu('h100-sxm')!,
  tp: 1,
  weightDtype: 'bf16',
  kvDtype: 'bf16',
} as const;
const isolatedMs = isolatedDuration((model) => (model === 'known' ? SHAPE : undefined));

const row = (request_id: string, fields: Partial<TraceRow> = {}): TraceRow => ({
  request_id,
  workflow_id: 'w',
  input_length: 8000,
  output_length: 1,
  model: 'known',
  ...fields,
});
const cost = new StepCost(SHAPE);

describe('isolatedDuration', () => {
  it('adds prefill, steps and waits along the critical path', () => {
    const [chain] = groupWorkflows([
      row('a', { output_length: 101 }),
      row('b', { wait_for: ['a'], tool_wait_ms: 500 }),
    ]);
    expect(isolatedMs(chain!)).toBeCloseTo(2 * cost.prefillMs(8000) + cost.decodeRunMs(1, 8000, 100) + 500, 6);
  });

  it('does not prefill leading blocks again, on the same model', () => {
    const blocks = { hash_ids: [1, 2, 3], block_tokens: 2000 };
    const [same] = groupWorkflows([row('a', blocks), row('b', { ...blocks, hash_ids: [1, 2, 9], wait_for: ['a'] })]);
    expect(isolatedMs(same!)).toBeCloseTo(cost.prefillMs(8000) + cost.prefillMs(8000, 4000), 6);
  });

  it('ends an answer at its limit, as servers do', () => {
    const [limited] = groupWorkflows([row('a', { output_length: 101, max_tokens: 11 })]);
    expect(isolatedMs(limited!)).toBeCloseTo(cost.prefillMs(8000) + cost.decodeRunMs(1, 8000, 10), 6);
  });

  it('says nothing where a model is not known', () => {
    const [workflow] = groupWorkflows([row('a'), row('b', { model: 'other' })]);
    expect(isolatedMs(workflow!)).toBeUndefined();
  });
});
