import { describe, expect, it } from 'vitest';
import { mostTrees } from './folds.js';

describe('the number of trees', () => {
  it('is the greatest of those that serve calls kept back as well as any', () => {
    expect(mostTrees(Float64Array.of(5, 3, 2.99, 3.001, 3.2), 0, 0.005)).toBe(4);
    expect(mostTrees(Float64Array.of(5, 2.9, 3, 3.1, 3.2), 0, 0.005)).toBe(2);
  });

  it('counts only the loss that trees can take off', () => {
    expect(mostTrees(Float64Array.of(1005, 1003, 1002.99, 1003.001, 1003.2), 1000, 0.005)).toBe(4);
    expect(mostTrees(Float64Array.of(-5, -7, -6.99), -8, 0.01)).toBe(3);
  });
});
