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

describe.each(TARGETS)('as captured: %s', (_name, open) => {
  let target: Target | undefined;
  let cases: ReadonlyMap<string, ReturnType<typeof capturedCases>[number]>;

  beforeAll(async () => {
    target = await open();
    cases = new Map(target ? capturedCases(target).map((each) => [each.name, each]) : []);
  });
  afterAll(() => target?.close());

  it.for(NAMES)('%s', async (name, { skip }) => {
    const reason = target ? reasonToSkip(name, target) : 'MAESTRO_VLLM_URL names no server';
    if (!target || reason !== undefined) return skip(reason);
    const { request, expected } = cases.get(name)!;
    expect(blurred(answerShape(await exchange(target, request)), target)).toEqual(expectedOf(expected, target));
  });
});
