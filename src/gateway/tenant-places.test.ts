import { expect, it } from 'vitest';
import { TenantPlaces } from './tenant-places.js';

it('gives a tenant as many places as its key allows, whatever keys it has, and others theirs', () => {
  const places = new TenantPlaces();
  const [old, young, other] = [
    { key: 'old-key-of-a', tenant: 'a', maxOpenRequests: 2 },
    { key: 'new-key-of-a', tenant: 'a', maxOpenRequests: 2 },
    { key: 'key-of-b', tenant: 'b', maxOpenRequests: 1 },
  ];
  const taken = [places.take(old), places.take(young)];
  expect(() => places.take(old)).toThrow('Tenant a has 2 requests open');
  expect(() => places.take(young)).toThrow('as many as it may');
  places.take(other);
  places.give(taken[0]);
  places.take(young);
  expect(() => places.take(young)).toThrow();
});

it('counts nobody whose key bounds nothing', () => {
  const places = new TenantPlaces();
  for (const key of [undefined, { key: 'key-of-a', tenant: 'a' }]) {
    for (let open = 0; open < 3; open++) expect(places.take(key)).toBeUndefined();
    places.give(undefined);
  }
});
