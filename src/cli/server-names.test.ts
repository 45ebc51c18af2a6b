import { expect, it } from 'vitest';
import { ManualClock } from '../model/clock.js';
import { ServerNames } from './server-names.js';
import { parseUrls } from './vllm-urls.js';

type Addresses = readonly { readonly address: string; readonly family: number }[];
const four = (...addresses: string[]): Addresses => addresses.map((address) => ({ address, family: 4 }));
const settled = () => new Promise((resolve) => setImmediate(resolve));

it.each<[string, Addresses, string[]]>([
  ['a server at each address', four('10.0.0.2', '10.0.0.1'), ['http://10.0.0.1:8000', 'http://10.0.0.2:8000']],
  ['an address that is told twice is one', four('10.0.0.1', '10.0.0.1'), ['http://10.0.0.1:8000']],
  [
    'a host of both families is one',
    [{ address: 'fd00::1', family: 6 }, ...four('10.0.0.1')],
    ['http://10.0.0.1:8000'],
  ],
  ['version 6 alone will do', [{ address: 'fd00::1', family: 6 }], ['http://[fd00::1]:8000']],
])('%s', async (_, addresses, urls) => {
  const names = new ServerNames(['dns+http://vllm:8000'], async () => addresses);
  expect(await names.look()).toEqual(urls);
});

it('leaves servers that are named one by one as they are, and never looks them up', async () => {
  const looked: string[] = [];
  const names = new ServerNames(['http://vllm:8000', 'unix:/run/a.sock'], async (host) => {
    looked.push(host);
    return four('10.0.0.1');
  });
  const clock = new ManualClock();
  names.watch(clock, { warn: () => {} }, (urls) => looked.push(...urls));
  clock.advance(60_000);
  await settled();
  expect([await names.look(), looked]).toEqual([['http://vllm:8000', 'unix:/run/a.sock'], []]);
});

it('looks again every ten seconds; a name without an address changes nothing, and is told once', async () => {
  let now: Addresses | Error = four('10.0.0.1');
  const names = new ServerNames(['dns+http://vllm:8000', 'http://10.0.0.9:8000'], async () => {
    if (now instanceof Error) throw now;
    return now;
  });
  const clock = new ManualClock();
  const warned: unknown[] = [];
  const found: string[] = [];
  await names.look();
  names.watch(clock, { warn: (...args: unknown[]) => warned.push(args) }, (urls) => found.push(urls.join(' ')));
  const step = async (next: Addresses | Error) => {
    now = next;
    clock.advance(10_000);
    await settled();
  };
  await step(four('10.0.0.1', '10.0.0.2'));
  await step(new Error('queryA ENOTFOUND vllm'));
  await step(new Error('queryA ENOTFOUND vllm'));
  await step(four('10.0.0.2'));
  names.stop();
  await step(four('10.0.0.3'));
  const both = 'http://10.0.0.1:8000 http://10.0.0.2:8000 http://10.0.0.9:8000';
  expect(found).toEqual([both, both, both, 'http://10.0.0.2:8000 http://10.0.0.9:8000']);
  expect(warned).toHaveLength(1);
});

it.each([
  ['dns+http://vllm:8000,http://vllm:8000', /named twice/],
  ['dns+https://vllm:8000', /dns\+http:\/\/NAME:PORT/],
  ['dns+http://10.0.0.1:8000', /dns\+http:\/\/NAME:PORT/],
  ['dns+unix:/run/a.sock', /dns\+http:\/\/NAME:PORT/],
  ['dns+vllm', /dns\+http:\/\/NAME:PORT/],
])('refuses %s', (text, message) => {
  expect(() => parseUrls(text)).toThrow(message);
});
