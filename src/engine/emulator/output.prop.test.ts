import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ANY_OBJECT } from './json-frame.js';
import { drawNaturalTokens, type ScriptRequest, textScript, toolCallScript } from './output.js';
import { chainHashes, detokenize, tokenize } from './tokens.js';

const request = fc.record({
  seed: fc.nat(),
  naturalTokens: fc.option(fc.integer({ min: 1, max: 60 }), { nil: undefined }),
  maxTokens: fc.integer({ min: 1, max: 60 }),
  stop: fc.constantFrom<readonly string[]>([], ['the'], [' a', 'zzz'], ['e w']),
  includeStop: fc.boolean(),
  echoed: fc.constant(''),
  json: fc.constantFrom<unknown>(undefined, ANY_OBJECT),
  garbage: fc.constant(false),
}) satisfies fc.Arbitrary<ScriptRequest>;

describe('textScript', () => {
  it('says the same however its tokens are cut into frames', () => {
    fc.assert(
      fc.property(request, fc.array(fc.nat(60), { maxLength: 6 }), (asked, cuts) => {
        const script = textScript(asked);
        const bounds = [0, ...cuts.map((cut) => Math.min(cut, script.tokens)).sort((a, b) => a - b), script.tokens];
        const pieces = bounds.slice(1).map((end, index) => script.text(bounds[index]!, end));
        expect(pieces.join('')).toBe(script.text(0, script.tokens));
      }),
    );
  });

  it('has the length that was asked for, and never exceeds the limit', () => {
    fc.assert(
      fc.property(request, (asked) => {
        const script = textScript({ ...asked, stop: [] });
        expect(script.tokens).toBe(Math.min(asked.naturalTokens ?? asked.maxTokens, asked.maxTokens));
        const own = asked.naturalTokens !== undefined && asked.naturalTokens <= asked.maxTokens;
        expect(script.finishReason).toBe(own ? 'stop' : 'length');
        if (own) expect(script.text(script.tokens - 1, script.tokens)).toBe('');
      }),
    );
  });

  it('ends at the first stop string, and shows it only when asked to', () => {
    fc.assert(
      fc.property(request, (asked) => {
        const whole = textScript({ ...asked, stop: [] });
        const all = whole.text(0, whole.tokens);
        const script = textScript({ ...asked, stop: ['the'] });
        const text = script.text(0, script.tokens);
        const found = all.indexOf('the');
        if (found < 0) expect(text).toBe(all);
        else {
          expect(text).toBe(all.slice(0, asked.includeStop ? found + 3 : found));
          expect([script.finishReason, script.stopReason]).toEqual(['stop', 'the']);
        }
      }),
    );
  });

  it('is one JSON object when JSON is asked for and the limit allows it', () => {
    fc.assert(
      fc.property(request, fc.integer({ min: 4, max: 40 }), (asked, tokens) => {
        const script = textScript({ ...asked, stop: [], json: ANY_OBJECT, naturalTokens: tokens, maxTokens: 40 });
        expect(Object.keys(JSON.parse(script.text(0, script.tokens)) as object)).toEqual(['answer']);
      }),
    );
  });
});

describe('toolCallScript', () => {
  const parameters = fc.constantFrom<unknown>(
    undefined,
    { type: 'object', properties: { q: { type: 'string' } }, required: ['q'] },
    { type: 'object', properties: { n: { type: 'integer' }, unit: { enum: ['C', 'F'] } }, required: ['n', 'unit'] },
    { type: 'object', properties: { a: { type: 'string' }, b: { type: 'boolean' }, c: { type: 'array' } } },
  );

  it('gives arguments that are JSON with every required property, unless the limit cuts them', () => {
    fc.assert(
      fc.property(request, parameters, (asked, schema) => {
        const script = toolCallScript({ ...asked, stop: [], maxTokens: 60 }, 'look', schema);
        const text = script.text(0, script.tokens);
        const { required } = (schema ?? {}) as { required?: string[] };
        expect(Object.keys(JSON.parse(text) as object)).toEqual(expect.arrayContaining(required ?? []));
        expect(script.tokens).toBe(asked.naturalTokens ?? 60);
      }),
    );
  });
});

describe('drawNaturalTokens', () => {
  it('has a median near 150 and at least two tokens', () => {
    const lengths = Array.from({ length: 4001 }, (_, seed) => drawNaturalTokens(seed * 7919)).sort((a, b) => a - b);
    expect(lengths[0]).toBeGreaterThanOrEqual(2);
    expect(Math.abs(lengths[2000]! - 150)).toBeLessThan(15);
  });
});

describe('tokens', () => {
  it('turns any text into tokens and back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const clean = text.replace(/\0/g, '');
        expect(detokenize(tokenize(clean))).toBe(clean);
      }),
    );
  });

  it('hashes equal prefixes equally, block by block, and nothing after the first difference', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(), { minLength: 1, maxLength: 200 }), fc.nat(199), fc.nat(), (ids, at, other) => {
        const position = at % ids.length;
        fc.pre(ids[position] !== other);
        const changed = ids.map((id, index) => (index === position ? other : id));
        const [a, b] = [chainHashes(ids, 16), chainHashes(changed, 16)];
        const same = Math.floor(position / 16);
        expect(a.length).toBe(Math.floor(ids.length / 16));
        expect(b.slice(0, same)).toEqual(a.slice(0, same));
        for (let block = same; block < a.length; block++) expect(b[block]).not.toBe(a[block]);
      }),
    );
  });
});
