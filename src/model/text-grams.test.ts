import { describe, expect, it } from 'vitest';
import { MAX_TEXT_GRAMS, TEXT_GRAMS, textGrams } from './text-grams.js';

describe('textGrams', () => {
  it('hashes words and pairs of words, whatever their case and punctuation, each once', () => {
    expect(textGrams('Book the flight.')).toHaveLength(5);
    expect(textGrams('book THE, flight')).toEqual(textGrams('Book the flight.'));
    // Two words; "a b", "b a" and "a b" again.
    expect(textGrams('a b a b')).toHaveLength(4);
    expect(textGrams('Prüfe das Ergebnis 42 次')).toHaveLength(9);
  });

  it('tells the order of words', () => {
    expect(textGrams('dog bites man')).not.toEqual(textGrams('man bites dog'));
  });

  it('takes beginning and end of a long text, and no more than its limit', () => {
    const words = Array.from({ length: 5000 }, (_, index) => `w${index}`);
    const grams = textGrams(words.join(' '));
    expect(grams.length).toBeGreaterThan(200);
    expect(grams.length).toBeLessThanOrEqual(MAX_TEXT_GRAMS);
    for (const part of ['w0 w1', 'w4998 w4999']) expect(grams).toEqual(expect.arrayContaining(textGrams(part)));
    expect(Math.max(...grams)).toBeLessThan(TEXT_GRAMS);
    expect(grams).toEqual([...grams].sort((a, b) => a - b));
  });

  it('finds nothing where there are no words', () => {
    expect(textGrams(' \n… ')).toEqual([]);
  });
});
