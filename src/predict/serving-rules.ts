import type { ContestState } from './contest.js';
import { METADATA_KEY } from './onnx/model.js';
import { ModelFormatError } from './onnx/protobuf.js';

/** What training found out about where and how a model may serve. Lies in the model file as JSON under `maestro.calibration`. */
export interface ServingRules {
  /** Added to `log_tokens_q95`, so that so much of the calls kept back was covered as was wanted: where online calibration starts. */
  readonly boundLogOffset: number;
  /**
   * A median that is no further than this from the last output of the agent, in log tokens, is taken to be that output: agents that write something
   * again often say exactly as much, which trees, being steps, cannot. 0 where that does not help.
   */
  readonly repeatLogTolerance: number;
  /** `tool_probability` was trained on enough calls to be worth something. */
  readonly toolIntent: boolean;
  /** Templates for which looking up was better than the model, or whose calls were too few to tell: there the middle of both begins. */
  readonly lookupTemplates: readonly string[];
  /** Errors of the ways to foretell a length on calls kept back, with which their contest begins. Empty in files made before that. */
  readonly lengthErrors: ContestState;
  /** Templates with workflows enough whose remaining work `log_remaining_ms` told better than the medians of it: there the model begins. */
  readonly remainingTemplates: readonly string[];
}

/** Of a file that was made elsewhere, and knows nothing of them: the bound starts at one and a half times the q95. */
const UNKNOWN: ServingRules = {
  ...{
    boundLogOffset: Math.log(1.5),
    repeatLogTolerance: 0,
    toolIntent: true,
    lookupTemplates: [],
    lengthErrors: [],
    remainingTemplates: [],
  },
};

/** No offset beyond this (a factor of 50) is a calibration. */
const MAX_LOG_OFFSET = 4;

/** The rules in the metadata of a model file. Throws {@link ModelFormatError} where they are not what they should be. */
export function servingRules(metadata: ReadonlyMap<string, string>): ServingRules {
  const text = metadata.get(METADATA_KEY.calibration);
  if (text === undefined) return UNKNOWN;
  const refuse = (field: string, wanted: string): never => {
    throw new ModelFormatError(`${METADATA_KEY.calibration}: ${field} must be ${wanted}`);
  };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return refuse('it', 'JSON');
  }
  if (typeof value !== 'object' || value === null) return refuse('it', 'an object');
  const fields = value as Record<string, unknown>;
  const {
    boundLogOffset,
    repeatLogTolerance,
    toolIntent,
    lookupTemplates,
    lengthErrors = [],
    remainingTemplates = [],
  } = fields;
  if (typeof boundLogOffset !== 'number' || !(Math.abs(boundLogOffset) <= MAX_LOG_OFFSET)) {
    return refuse('boundLogOffset', `a number from -${MAX_LOG_OFFSET} to ${MAX_LOG_OFFSET}`);
  }
  if (typeof repeatLogTolerance !== 'number' || !(repeatLogTolerance >= 0 && repeatLogTolerance <= 1)) {
    return refuse('repeatLogTolerance', 'a number from 0 to 1');
  }
  if (typeof toolIntent !== 'boolean') return refuse('toolIntent', 'true or false');
  if (!Array.isArray(lookupTemplates) || !lookupTemplates.every((name) => typeof name === 'string')) {
    return refuse('lookupTemplates', 'a list of names');
  }
  if (!isContestState(lengthErrors)) {
    return refuse('lengthErrors', 'a list of [name, number of calls, [mean absolute errors in tokens]]');
  }
  if (!Array.isArray(remainingTemplates) || !remainingTemplates.every((name) => typeof name === 'string')) {
    return refuse('remainingTemplates', 'a list of names');
  }
  return { boundLogOffset, repeatLogTolerance, toolIntent, lookupTemplates, lengthErrors, remainingTemplates };
}

function isContestState(value: unknown): value is ContestState {
  const isAmount = (amount: unknown) => typeof amount === 'number' && amount >= 0 && Number.isFinite(amount);
  return (
    Array.isArray(value) &&
    value.every((each) => {
      if (!Array.isArray(each) || each.length !== 3) return false;
      const [key, calls, errors] = each;
      return typeof key === 'string' && isAmount(calls) && Array.isArray(errors) && errors.every(isAmount);
    })
  );
}

/** The median of the model, or the agent's last output where the two are that close. Both in log tokens. */
export function withRepeats(logMedian: number, lastTokens: number | undefined, logTolerance: number): number {
  if (lastTokens === undefined) return logMedian;
  const last = Math.log1p(lastTokens);
  return Math.abs(last - logMedian) <= logTolerance ? last : logMedian;
}
