import { expect, it } from 'vitest';
import { engineAddress, isLoopback, parseEngineUrl } from './engine-address.js';

it.each([
  ['http://127.0.0.1:8000', { origin: 'http://127.0.0.1:8000', host: '127.0.0.1', port: 8000, secure: false }],
  ['HTTPS://engine.example/', { origin: 'https://engine.example', host: 'engine.example', port: 443, secure: true }],
  ['http://[::1]:8000/', { origin: 'http://[::1]:8000', host: '::1', port: 8000, secure: false }],
  ['http://engine:8000/v1', { origin: 'http://engine:8000' }],
  ['http://engine:8000/v1/', { origin: 'http://engine:8000' }],
  ['unix:/run/vllm/a.sock', { origin: 'http://localhost', socketPath: '/run/vllm/a.sock', secure: false }],
  ['unix:///run/a b%20.sock', { socketPath: '/run/a b%20.sock' }],
  [`unix:/${'x'.repeat(106)}`, { socketPath: `/${'x'.repeat(106)}` }],
])('%s', (url, expected) => {
  expect(engineAddress(url)).toMatchObject(expected);
});

it.each([
  '',
  'ftp://x',
  'http://',
  '127.0.0.1:8000',
  'http://proxy/llama-8b',
  'http://proxy/v1/models',
  'http://proxy/?engine=a',
  'http://proxy/#a',
  'http://user@engine:8000',
  'unix:',
  'unix:a.sock',
  'unix:/',
  'unix:/run/',
  `unix:/${'ż'.repeat(54)}`,
])('is no address: %s', (url) => {
  expect(parseEngineUrl(url)).toBeUndefined();
  expect(() => engineAddress(url)).toThrow(/unix:\/run\/vllm\/a\.sock/);
});

it.each([
  ['127.0.0.1', true],
  ['localhost', true],
  ['[::1]', true],
  ['127.8.8.8', true],
  ['10.0.0.1', false],
  ['127.example.com', false],
])('%s is loopback: %s', (host, expected) => {
  expect(isLoopback(host)).toBe(expected);
});

it('shows no password of a URL that it refuses', () => {
  for (const url of ['http://user:s3cret@engine:8000', 'http://s3cret@engine/x', 'https://a:s3cret@b@engine']) {
    expect(() => engineAddress(url)).toThrow(/\/\/\*{8}@engine/);
    expect(() => engineAddress(url)).not.toThrow(/s3cret/);
  }
});
