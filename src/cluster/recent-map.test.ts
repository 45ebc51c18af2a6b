import { describe, expect, it } from 'vitest';
import { RecentMap } from './recent-map.js';

describe('RecentMap', () => {
  it('keeps the last half of its size at least, and what is set again', () => {
    const map = new RecentMap<string, number>(8);
    map.set('kept', -1);
    for (let index = 0; index < 100; index++) {
      map.set(`k${index}`, index);
      if (index % 3 === 0) map.set('kept', index);
      for (let back = 0; back < 3 && back <= index; back++) expect(map.get(`k${index - back}`)).toBe(index - back);
      expect(map.get(`k${index - 8}`)).toBeUndefined();
    }
    expect(map.get('kept')).toBe(99);
  });
});
