import { describe, expect, it } from 'vitest';
import { jsonFrame } from './json-frame.js';

function whole(schema: unknown, seed = 7): unknown {
  const { head, tail, open } = jsonFrame(schema, seed);
  return JSON.parse(`${head}${open ? 'some words' : ''}${tail}`);
}

const person = {
  type: 'object',
  properties: {
    name: { type: 'string' },
    age: { type: 'integer', minimum: 20, maximum: 30 },
    mood: { enum: ['glad', 'sad'] },
    kind: { const: 'person' },
    tags: { type: 'array', items: { type: 'string' }, minItems: 2 },
    home: { $ref: '#/$defs/Home' },
    nick: { anyOf: [{ type: 'string' }, { type: 'null' }] },
    spouse: { type: ['null', 'object'] },
  },
  required: ['name', 'age', 'mood', 'kind', 'tags', 'home', 'nick', 'spouse'],
  additionalProperties: false,
  $defs: {
    Home: { type: 'object', properties: { city: { type: 'string' }, no: { type: 'number' } }, required: ['city'] },
  },
};

describe('jsonFrame', () => {
  it('fits nested schemas: references, alternatives, lists, constants, bounds', () => {
    expect(whole(person)).toEqual({
      name: 'some words',
      age: 20,
      mood: expect.stringMatching(/^(glad|sad)$/),
      kind: 'person',
      tags: [expect.any(String), expect.any(String)],
      home: { city: expect.any(String) },
      nick: expect.any(String),
      spouse: null,
    });
  });

  it('ends for a schema that names itself', () => {
    const node = { type: 'object', properties: { next: { $ref: '#' } }, required: ['next'] };
    expect(JSON.stringify(whole(node)).length).toBeLessThan(200);
    expect(whole({ $ref: '#' })).toEqual({});
  });

  it('makes an object of whatever is no schema', () => {
    for (const schema of [undefined, null, 'text', [], { $ref: 3 }, { properties: [] }])
      expect(whole(schema)).toEqual({});
  });
});
