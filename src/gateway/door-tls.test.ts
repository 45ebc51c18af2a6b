import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { type AddressInfo, connect as connectPlain } from 'node:net';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { expect, it, vi } from 'vitest';
import { createLogger } from '../observe/log.js';
import { TlsEntrance } from './door-tls.js';

const file = (name: string) => readFileSync(join(import.meta.dirname, '../../test/system/tls', name));

it('knows while a handshake is not complete, whatever has come and gone before, and closes such connections', async () => {
  const credentials = { cert: file('engine.pem'), key: file('engine.key') };
  const server = createServer(credentials);
  const logger = createLogger({ level: 'silent' });
  const entrance = new TlsEntrance(server, { current: () => credentials }, () => true, logger);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const isNew = (expected: boolean) => vi.waitFor(() => expect(entrance.anyNew).toBe(expected), { timeout: 20_000 });
  const silent = async () => {
    const socket = connectPlain(port, '127.0.0.1').on('error', () => {});
    await once(socket, 'connect');
    await isNew(true);
    return socket;
  };
  expect(entrance.anyNew).toBe(false);
  for (let round = 0; round < 2; round++) {
    const secure = connect({ port, host: '127.0.0.1', ca: file('ca.pem') });
    await once(secure, 'secureConnect');
    await isNew(false);
    const beside = await silent();
    beside.destroy();
    await isNew(false);
    secure.destroy();
    await vi.waitFor(async () => expect(await openConnections(server)).toBe(0), { timeout: 20_000 });
  }
  const waits = await silent();
  const closed = once(waits, 'close');
  entrance.closeAll();
  await closed;
  await isNew(false);
  await once(server.close(), 'close');
});

function openConnections(server: ReturnType<typeof createServer>): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
  });
}
