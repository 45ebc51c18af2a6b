import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scanBody } from './json-scan.js';
import { WANTED_FIELDS } from './wanted-fields.js';

const key = fc.oneof(fc.constantFrom(...WANTED_FIELDS), fc.string());
const body = fc
  .dictionary(key, fc.jsonValue({ maxDepth: 5, noUnicodeString: false }), { maxKeys: 12 })
  .chain((object) => fc.constantFrom(JSON.stringify(object), JSON.stringify(object, null, 2)));

describe('scanBody', () => {
  it('cuts every wanted value out of any JSON object exactly', () => {
    fc.assert(
      fc.property(body, (text) => {
        const bytes = Buffer.from(text);
        const parsed = JSON.parse(text) as Record<string, unknown>;
        const { fields, messageOffsets } = scanBody(bytes, 20);
        for (const field of WANTED_FIELDS) {
          const range = fields[field];
          expect(range !== undefined).toBe(Object.hasOwn(parsed, field));
          if (!range) continue;
          expect(JSON.parse(bytes.toString('utf8', range.start, range.end))).toEqual(parsed[field]);
          expect(range.elements).toBe(Array.isArray(parsed[field]) ? parsed[field].length : 0);
        }
        const messages = Array.isArray(parsed['messages']) ? parsed['messages'] : [];
        expect(
          messages.map((_, index) =>
            JSON.parse(bytes.toString('utf8', messageOffsets[2 * index], messageOffsets[2 * index + 1])),
          ),
        ).toEqual(messages);
      }),
    );
  });

  it('refuses every body that is cut short', () => {
    fc.assert(
      fc.property(body, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (text, share) => {
        const bytes = Buffer.from(text);
        expect(() => scanBody(bytes.subarray(0, Math.floor(share * bytes.length)), 20)).toThrow(/not usable JSON/);
      }),
    );
  });

  it('takes nothing that JSON.parse refuses, as long as strings are left alone', () => {
    const structure = fc.string({
      unit: fc.constantFrom('{', '}', '[', ']', ',', ':', '"a"', '1', '-', '.', 'e', 'true', ' '),
    });
    fc.assert(
      fc.property(structure, (inside) => {
        const text = `{"a":${inside}}`;
        let parses = true;
        try {
          JSON.parse(text);
        } catch {
          parses = false;
        }
        if (parses) expect(() => scanBody(Buffer.from(text), 1000)).not.toThrow();
        else expect(() => scanBody(Buffer.from(text), 1000)).toThrow();
      }),
      { numRuns: 2000 },
    );
  });
});
