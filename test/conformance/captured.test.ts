import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blurred, capturedCases, expectedOf, reasonToSkip } from './captured.js';
import { answerShape } from './shape.js';
import { emulatorTarget, realTarget, type Target } from './target.js';
import { exchange } from './wire.js';

const TARGETS: readonly (readonly [string, () => Promise<Target | undefined>])[] = [
  ['emulator 0.29.0', () => emulatorTarget('0.29.0')],
  ['emulator 0.32.0', () => emulatorTarget('0.32.0')],
  ['real server', realTarget],
];

/** Names alone, so that each case is a test of its own before the target is known. */
const NAMES = capturedCases({ version: '0.29.0', model: 'tiny' } as Target).map(({ name }) => name);

describe.each(TARGETS)('as captured: %s', (targetName, open) => {
  let target: Target | undefined;
  let cases: ReadonlyMap<string, ReturnType<typeof capturedCases>[number]>;

  beforeAll(async () => {
    target = await open();
    cases = new Map(target ? capturedCases(target).map((each) => [each.name, each]) : []);
  });
  afterAll(() => target?.close());

  // A real server without CPU time puts several tokens into one frame, so that a kind of frame may be missing once.
  it.for(NAMES)('%s', { retry: targetName === 'real server' ? 3 : 0 }, async (name, { skip }) => {
    const reason = target ? reasonToSkip(name, target) : 'MAESTRO_VLLM_URL names no server';
    if (!target || reason !== undefined) return skip(reason);
    const { request, expected } = cases.get(name)!;
    expect(blurred(answerShape(await exchange(target, request)), target)).toEqual(expectedOf(expected, target));
  });
});

/** The flags of the server that the second set of captures comes from. */
const OPTION_FLAGS = {
  apiKeys: ['k1', 'k2'],
  enableRequestIdHeaders: true,
  enableForceIncludeUsage: true,
  enablePerRequestMetrics: true,
  enableServerLoadTracking: true,
  enableAutoToolChoice: true,
  toolCallParser: 'hermes',
  maxNumQueuedReqs: 4,
  maxNumSeqs: 2,
  devMode: false,
  schedulingPolicy: 'fcfs',
  enablePromptTokensDetails: false,
} as const;
const OPTION_NAMES = capturedCases({ version: '0.29.0', model: 'tiny' } as Target, 'captured-options').map(
  ({ name }) => name,
);

describe('as captured with other flags: emulator 0.29.0', () => {
  let target: Target;
  let cases: ReadonlyMap<string, ReturnType<typeof capturedCases>[number]>;

  beforeAll(async () => {
    target = await emulatorTarget('0.29.0', OPTION_FLAGS);
    cases = new Map(capturedCases(target, 'captured-options').map((each) => [each.name, each]));
  });
  afterAll(() => target.close());

  it.for(OPTION_NAMES)('%s', async (name, { skip }) => {
    if (name === 'nokey-post-inference-v1-generate') return skip('an endpoint that the emulator does not have');
    if (name === 'nokey-get-metrics')
      return skip('a fresh real server shows labelled counters only after their first count');
    const { request, expected } = cases.get(name)!;
    // The captures say which answers carry a request id.
    const asCaptured = { ...target, requestIdHeaders: false };
    expect(blurred(answerShape(await exchange(target, request)), target)).toEqual(expectedOf(expected, asCaptured));
  });
});
