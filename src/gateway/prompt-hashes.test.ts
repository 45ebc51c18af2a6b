import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PromptHashes } from './prompt-hashes.js';
import { RollingHash, seeded, shortText } from './rolling-hash.js';
import type { ByteRange } from './system-prompt.js';

const seedOf = (text: string) => () => {
  const seed = new RollingHash();
  seed.updateText(text);
  return seed;
};
const prefixes = (body: Buffer, prompt: ByteRange, system?: ByteRange, seed = '') =>
  new PromptHashes(body, prompt, system, []).prefixes(seedOf(seed));
const hashes = (text: string, seed = '') =>
  prefixes(Buffer.from(text), { start: 0, end: text.length }, undefined, seed);

describe('hashes of a growing prompt', () => {
  it('in parts are those of the first part, then of what follows it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 30_000 }), fc.nat(30_000), (systemBytes, questionBytes) => {
        const body = Buffer.concat([Buffer.alloc(systemBytes, 's'), Buffer.alloc(questionBytes, 'q')]);
        const system = { start: 0, end: systemBytes };
        const question = { start: systemBytes, end: body.length };
        const alone = prefixes(body, system);
        const both = prefixes(body, question, system);
        expect(both.slice(0, alone.length)).toEqual(alone);
        expect(both).toHaveLength(hashes('x'.repeat(body.length)).length);
        // Whatever differs in the first part, be it behind its last boundary, makes all that follows differ.
        body[systemBytes - 1] = 0x53;
        const other = prefixes(body, question, system);
        expect(other.slice(alone.length).filter((hash) => both.includes(hash))).toEqual([]);
      }),
    );
  });

  it('begin with those of its beginning, and change where it does', () => {
    fc.assert(
      fc.property(fc.nat(60_000), fc.nat(60_000), (shared, more) => {
        const start = 'abcdefg'.repeat(10_000).slice(0, shared);
        const short = hashes(start);
        const long = hashes(start + 'z'.repeat(more));
        expect(long.slice(0, short.length)).toEqual(short);
        const other = hashes(`X${start.slice(1)}`);
        expect(other.filter((hash) => short.includes(hash))).toEqual([]);
      }),
      { numRuns: 50 },
    );
  });

  it('are few, and dense to an eighth of the length', () => {
    expect(hashes('x'.repeat(511))).toEqual([]);
    expect(hashes('x'.repeat(4096))).toHaveLength(8);
    expect(hashes('x'.repeat(8192))).toHaveLength(16);
    expect(hashes('x'.repeat(1_000_000)).length).toBeLessThan(80);
    const distinct = new Set(hashes('x'.repeat(1_000_000)));
    expect(distinct.size).toBe(hashes('x'.repeat(1_000_000)).length);
  });

  it('differ by seed', () => {
    const [one, other] = [hashes('x'.repeat(9000), 'tenant'), hashes('x'.repeat(9000), 'other')];
    expect(one.filter((hash) => other.includes(hash))).toEqual([]);
  });
});

describe('hashes at the ends of messages', () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 12 });

  /** Messages one after the other with a byte between them, behind a system prompt. */
  function conversation(messageBytes: readonly number[], systemBytes: number) {
    const offsets: number[] = [];
    let end = systemBytes;
    for (const bytes of messageBytes) {
      offsets.push(end + 1, end + 1 + bytes);
      end += 1 + bytes;
    }
    const body = Buffer.alloc(end + 1);
    for (let index = 0; index < body.length; index++) body[index] = 97 + ((index * index) % 23);
    const system = systemBytes > 0 ? { start: 0, end: systemBytes } : undefined;
    return { body, offsets, prompt: { start: systemBytes, end: end + 1 }, system };
  }

  it('leave those of the prompt what they are', () => {
    fc.assert(
      fc.property(lengths, fc.nat(3000), (messageBytes, systemBytes) => {
        const { body, offsets, prompt, system } = conversation(messageBytes, systemBytes);
        const asked = new PromptHashes(body, prompt, system, offsets);
        expect(asked.messages()).toHaveLength(messageBytes.length);
        expect(asked.prefixes(seedOf('s'))).toEqual(prefixes(body, prompt, system, 's'));
      }),
    );
  });

  it('are those of the shorter conversation, and differ where it differs', () => {
    fc.assert(
      fc.property(lengths, fc.integer({ min: 1, max: 5000 }), fc.nat(), (messageBytes, more, where) => {
        const shorter = conversation(messageBytes, 0);
        const longer = conversation([...messageBytes, more], 0);
        const known = new PromptHashes(shorter.body, shorter.prompt, undefined, shorter.offsets).messages();
        const values = () => new PromptHashes(longer.body, longer.prompt, undefined, longer.offsets).messages();
        const all = values();
        expect(all.slice(0, -1)).toEqual(known);
        const changed = where % longer.body.length;
        longer.body[changed]! ^= 1;
        const changedFrom = longer.offsets.filter((offset, index) => index % 2 === 1 && offset <= changed).length;
        expect(values().slice(0, changedFrom)).toEqual(all.slice(0, changedFrom));
        expect(
          values()
            .slice(changedFrom)
            .filter((value) => all.includes(value)),
        ).toEqual([]);
      }),
      // The byte behind the last message.
      { examples: [[[3858, 3422, 1911, 2967], 3648, 947_059_739]] },
    );
  });
});

it('a seed keeps values apart, and nine characters hold one', () => {
  const number = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
  fc.assert(
    fc.property(number, number, number, (value, other, seed) => {
      const mixed = seeded(value, seed);
      expect(Number.isInteger(mixed) && mixed >= 0 && mixed < 2 ** 53).toBe(true);
      if (value !== other) {
        expect(seeded(other, seed)).not.toBe(mixed);
        expect(seeded(seed, value)).not.toBe(seeded(seed, other));
        expect(shortText(value)).not.toBe(shortText(other));
      }
      expect(shortText(value)).toMatch(/^[0-o]{9}$/);
    }),
  );
});
