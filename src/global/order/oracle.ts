import type { OrderInput, OrderingPolicy } from './policy.js';
import { isRelegated, RELEGATION_OFFSET_MS, type Relegation, relegationChangeMs } from './relegation.js';
import { SRTF } from './srtf.js';
import { SRW } from './srw.js';

const RULE: Relegation = { fromStep: 1, optimism: 1, onlyUnstarted: false };

/** The input with the truth in place of what was predicted. Without foresight an oracle has nothing to say, and a run that asks one anyway is a mistake. */
function withTruth(input: OrderInput): OrderInput {
  const { foresight, prediction, stage } = input;
  if (!foresight) throw new Error('an oracle policy needs foresight, which only the simulator has');
  const { outputTokens, serviceMs, remainingMs } = foresight;
  const kvTokens = stage.promptTokens + outputTokens;
  return {
    ...input,
    prediction: {
      ...prediction,
      outputTokens: { q30: outputTokens, q50: outputTokens, q95: outputTokens, mean: outputTokens },
      kvTokens: { q50: kvTokens, bound: prediction.kvTokens.bound },
      serviceMs,
      remainingMs,
    },
  };
}

/** EDF with relegation by what will truly remain. */
export const ORACLE_EDF: OrderingPolicy = {
  name: 'oracle-edf',
  summary: 'EDF that relegates by the true remaining work',
  keyUnit: 'instant',
  usesLoad: true,
  key: (input) => input.workflow.deadlineMs + (isRelegated(withTruth(input), RULE) ? RELEGATION_OFFSET_MS : 0),
  changesAtMs: (input) => relegationChangeMs(withTruth(input), RULE),
};

export const ORACLE_SRTF: OrderingPolicy = {
  name: 'oracle-srtf',
  summary: 'least true remaining time of the workflow first',
  keyUnit: SRTF.keyUnit,
  usesLoad: false,
  key: (input) => SRTF.key(withTruth(input)),
};

export const ORACLE_SRW: OrderingPolicy = {
  name: 'oracle-srw',
  summary: 'least true remaining KV token-time of the workflow first',
  keyUnit: SRW.keyUnit,
  usesLoad: false,
  key: (input) => SRW.key(withTruth(input)),
};
