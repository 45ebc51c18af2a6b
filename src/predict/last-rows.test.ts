import { describe, expect, it } from 'vitest';
import { rememberRows } from './last-rows.js';

describe('rememberRows', () => {
  const counting = (answer: (row: Float64Array) => Float64Array | undefined) => {
    const asked: number[][] = [];
    const evaluate = rememberRows((row, first) => {
      asked.push([first, ...row]);
      return answer(row);
    });
    return {
      asked,
      evaluate,
      ask: (first: number, ...row: number[]) => evaluate(Float64Array.from(row), first, 'chain'),
    };
  };

  it('asks once for equal rows, missing values included, and anew for others', () => {
    const { asked, ask, evaluate } = counting((row) => Float64Array.of(row[0]! * 2));
    for (let round = 0; round < 3; round++) expect(ask(0, 1, Number.NaN)).toEqual(Float64Array.of(2));
    expect(asked).toHaveLength(1);
    expect(ask(0, 1, 0)).toEqual(Float64Array.of(2));
    expect(ask(1, 1, Number.NaN)).toEqual(Float64Array.of(2));
    expect(ask(0, 3, Number.NaN)).toEqual(Float64Array.of(6));
    expect(asked).toHaveLength(4);
    evaluate(Float64Array.of(3, Number.NaN), 0, 'debate');
    expect(asked).toHaveLength(5);
  });

  it('keeps nothing that the model uses again, and no answer that it did not give', () => {
    const reused = Float64Array.of(0);
    let serving = true;
    const { ask } = counting((row) => {
      reused[0] = row[0]!;
      return serving ? reused : undefined;
    });
    for (let value = 0; value < 1000; value++) expect(ask(0, value)).toEqual(Float64Array.of(value));
    expect(ask(0, 999)).toEqual(Float64Array.of(999));
    serving = false;
    expect(ask(0, -1)).toBeUndefined();
    serving = true;
    expect(ask(0, -1)).toEqual(Float64Array.of(-1));
  });
});
