import { describe, expect, it } from 'vitest';
import { SeededRng } from '../model/rng.js';
import { textGrams } from '../model/text-grams.js';
import { TEXT_VECTOR_SIZE, type TextVector } from '../model/text-vector.js';
import { TextArm } from './text-arm.js';

const TOPICS = ['summarise the meeting', 'write a long story', 'translate this word', 'list all open orders'];

const textOf = (topic: number, name: string) => ({ textGrams: textGrams(`please ${TOPICS[topic]} number ${name}`) });

/** Long stories are answered at four times the length of the role, words at a quarter. */
function taught(calls: number): TextArm {
  const arm = new TextArm();
  const rng = new SeededRng(1);
  for (let call = 0; call < calls; call++) {
    const topic = Math.floor(rng.next() * TOPICS.length);
    const residual = [0, Math.log(4), -Math.log(4), 0][topic]! + (rng.next() - 0.5) * 0.2;
    arm.observe(textOf(topic, String(call)), residual);
  }
  return arm;
}

const say = (arm: TextArm, topic: number) => arm.estimate(textOf(topic, 'x'));

describe('TextArm', () => {
  it('learns which words make answers longer or shorter than the role suggests', () => {
    const arm = taught(400);
    expect(say(arm, 1)).toBeGreaterThan(0.8);
    expect(say(arm, 2)).toBeLessThan(-0.8);
    expect(Math.abs(say(arm, 0))).toBeLessThan(0.4);
  });

  it('says nothing without a text, and before it has seen enough', () => {
    expect(taught(49).estimate(textOf(0, 'x'))).toBeNaN();
    expect(taught(60).estimate({})).toBeNaN();
    expect(taught(60).estimate({ textGrams: [] })).toBeNaN();
  });

  it('is not turned by one absurd answer, nor by one whose role is not known', () => {
    const arm = taught(400);
    const before = say(arm, 0);
    arm.observe(textOf(0, 'x'), 50);
    expect(Math.abs(say(arm, 0) - before)).toBeLessThan(0.4);
    const steady = say(arm, 0);
    arm.observe(textOf(0, 'x'), Number.NaN);
    expect(say(arm, 0)).toBe(steady);
  });

  it('goes on after a restart', () => {
    const before = taught(300);
    const after = new TextArm();
    after.restore(JSON.parse(JSON.stringify(before.state())));
    for (const topic of TOPICS.keys()) expect(say(after, topic)).toBeCloseTo(say(before, topic), 2);
  });
});

/** Vectors in which the first two numbers are the topic, and the rest is noise. */
function vectorOf(topic: number, rng: SeededRng, embedder = 'small'): { textVector: TextVector } {
  const values = Array.from({ length: TEXT_VECTOR_SIZE }, () => (rng.next() - 0.5) * 0.2);
  [values[0], values[1]] = [topic === 1 ? 0.7 : 0, topic === 2 ? 0.7 : 0];
  return { textVector: { embedder, values } };
}

function taughtVectors(calls: number): { arm: TextArm; rng: SeededRng } {
  const arm = new TextArm();
  const rng = new SeededRng(2);
  for (let call = 0; call < calls; call++) {
    const topic = call % 3;
    arm.observe(vectorOf(topic, rng), [0, Math.log(4), -Math.log(4)][topic]!);
  }
  return { arm, rng };
}

describe('TextArm with vectors of an embedder', () => {
  it('learns which directions make answers longer or shorter', () => {
    const { arm, rng } = taughtVectors(600);
    expect(arm.estimate(vectorOf(1, rng))).toBeGreaterThan(0.8);
    expect(arm.estimate(vectorOf(2, rng))).toBeLessThan(-0.8);
    expect(Math.abs(arm.estimate(vectorOf(0, rng)))).toBeLessThan(0.4);
  });

  it('says nothing of vectors of another embedder, and begins anew with it', () => {
    const { arm, rng } = taughtVectors(600);
    expect(arm.estimate(vectorOf(1, rng, 'other'))).toBeNaN();
    arm.observe(vectorOf(0, rng, 'other'), 0);
    expect(Math.abs(arm.estimate(vectorOf(1, rng, 'other')))).toBeLessThan(0.1);
    expect(arm.estimate(vectorOf(1, rng))).toBeNaN();
  });

  it('goes on after a restart', () => {
    const { arm, rng } = taughtVectors(300);
    const after = new TextArm();
    after.restore(JSON.parse(JSON.stringify(arm.state())));
    const text = vectorOf(1, rng);
    expect(after.estimate(text)).toBeCloseTo(arm.estimate(text), 2);
  });

  it('goes by words alone where a vector was not ready in time', () => {
    const arm = taught(400);
    const { textVector } = vectorOf(1, new SeededRng(3));
    expect(arm.estimate({ ...textOf(1, 'x'), textVector })).toBe(say(arm, 1));
  });
});
