import fc from 'fast-check';
import { expect, it } from 'vitest';
import { scanBody } from './json-scan.js';
import { ParameterPolicies } from './parameter-policy.js';
import { type InferenceRoute, matchRoute } from './routes.js';

const FIELDS = ['a', 'b', 'c', 'd', 'e'] as const;
const KINDS = ['default', 'fixed', 'drop', 'none'] as const;

it('does to any body what the same rules do to the document', () => {
  const match = matchRoute('POST', '/v1/chat/completions');
  const route = (match as { readonly route: InferenceRoute }).route;
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.constantFrom(...FIELDS, 'other', 'model'), { minLength: 0 }),
      fc.array(fc.jsonValue({ maxDepth: 2 }), { minLength: 7, maxLength: 7 }),
      fc.array(fc.constantFrom(...KINDS), { minLength: 5, maxLength: 5 }),
      fc.constantFrom(0, 1),
      fc.nat(80),
      (names, values, kinds, indent, slack) => {
        const made = Object.fromEntries([['kept', 1], ...names.map((name, index) => [name, values[index]])]);
        const text = JSON.stringify(made, undefined, indent);
        const document = JSON.parse(text) as Record<string, unknown>;
        const of = (kind: string) => FIELDS.filter((_field, index) => kinds[index] === kind);
        const setTo = (fields: readonly string[]) => Object.fromEntries(fields.map((field) => [field, `${field} set`]));
        const rules = { defaults: setTo(of('default')), fixed: setTo(of('fixed')), drop: of('drop') };
        const expected: Record<string, unknown> = { ...document };
        for (const field of of('default')) expected[field] ??= `${field} set`;
        for (const field of of('fixed')) expected[field] = `${field} set`;
        for (const field of of('drop')) delete expected[field];
        const room = Buffer.alloc(Buffer.byteLength(text) + slack);
        const body = room.subarray(0, room.write(text));
        const policy = new ParameterPolicies({ m: rules }).of('m');
        const governed = policy?.apply(body, room, scanBody(body, 50).closeOffset, route);
        expect(JSON.parse((governed?.body ?? body).toString())).toEqual(expected);
      },
    ),
    { numRuns: 500 },
  );
});
