import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { serversAt } from './servers-at.js';

it.each([
  ['one', ['process_start_time_seconds 100'], 1],
  ['one that does not say when it started', [''], 1],
  ['three that take turns', [100, 200, 300].map((start) => `process_start_time_seconds ${start}`), 3],
])('counts the servers at an address: %s', async (_, pages, count) => {
  let looks = 0;
  const server = createServer((_request, response) => response.end(pages[looks++ % pages.length]));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    expect(await serversAt({ url: `http://127.0.0.1:${port}` })).toBe(count);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
