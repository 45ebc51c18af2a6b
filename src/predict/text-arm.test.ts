import { describe, expect, it } from 'vitest';
import { SeededRng } from '../model/rng.js';
import { textGrams } from '../model/text-grams.js';
import { TextArm } from './text-arm.js';

const TOPICS = ['summarise the meeting', 'write a long story', 'translate this word', 'list all open orders'];

/** Long stories are answered at four times the length of the role, words at a quarter. */
function taught(calls: number): TextArm {
  const arm = new TextArm();
  const rng = new SeededRng(1);
  for (let call = 0; call < calls; call++) {
    const topic = Math.floor(rng.next() * TOPICS.length);
    const residual = [0, Math.log(4), -Math.log(4), 0][topic]! + (rng.next() - 0.5) * 0.2;
    arm.observe(textGrams(`please ${TOPICS[topic]} number ${call}`), residual);
  }
  return arm;
}

const say = (arm: TextArm, topic: number) => arm.estimate(textGrams(`please ${TOPICS[topic]} number x`));

describe('TextArm', () => {
  it('learns which words make answers longer or shorter than the role suggests', () => {
    const arm = taught(400);
    expect(say(arm, 1)).toBeGreaterThan(0.8);
    expect(say(arm, 2)).toBeLessThan(-0.8);
    expect(Math.abs(say(arm, 0))).toBeLessThan(0.4);
  });

  it('says nothing without a text, and before it has seen enough', () => {
    expect(taught(49).estimate(textGrams('please'))).toBeNaN();
    expect(taught(60).estimate(undefined)).toBeNaN();
    expect(taught(60).estimate([])).toBeNaN();
  });

  it('is not turned by one absurd answer, nor by one whose role is not known', () => {
    const arm = taught(400);
    const before = say(arm, 0);
    arm.observe(textGrams(`please ${TOPICS[0]} number x`), 50);
    expect(Math.abs(say(arm, 0) - before)).toBeLessThan(0.4);
    const steady = say(arm, 0);
    arm.observe(textGrams(`please ${TOPICS[0]} number x`), Number.NaN);
    expect(say(arm, 0)).toBe(steady);
  });

  it('goes on after a restart', () => {
    const before = taught(300);
    const after = new TextArm();
    after.restore(JSON.parse(JSON.stringify(before.state())));
    for (const topic of TOPICS.keys()) expect(say(after, topic)).toBeCloseTo(say(before, topic), 2);
  });
});
