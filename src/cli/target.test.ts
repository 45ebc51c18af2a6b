import { describe, expect, it } from 'vitest';
import { parseTarget, shownArguments } from './target.js';

describe('parseTarget', () => {
  it.each([
    ['http://127.0.0.1:8080', 'http://127.0.0.1:8080'],
    ['http://127.0.0.1:8080/', 'http://127.0.0.1:8080'],
    ['https://host/v1/', 'https://host'],
    ['http://host/w/run/v1', 'http://host/w/run'],
  ])('%s', (given, target) => {
    expect(parseTarget(given)).toBe(target);
  });

  it.each(['127.0.0.1:8080', 'localhost', 'ftp://host', 'http://', ''])('%s is refused', (given) => {
    expect(() => parseTarget(given)).toThrow('such as http://127.0.0.1:8080');
  });
});

it('a key is not shown, however it was given', () => {
  expect(shownArguments(['replay', 't', '--key', 'secret', '--json'])).toEqual(['replay', 't', '--json']);
  expect(shownArguments(['replay', '--key=secret', 't'])).toEqual(['replay', 't']);
  expect(shownArguments(['replay', 'secret', '--key', 'secret'])).toEqual(['replay', 'secret']);
});
