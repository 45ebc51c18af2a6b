/** TLS at the front door: what plain requests and all others get over it, renewed certificates, clients that are asked for one, and those that speak no TLS. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as connectPlain, type Socket } from 'node:net';
import { join } from 'node:path';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { afterEach, expect, it, vi } from 'vitest';
import { ClientConnections } from '../../src/gateway/client-connections.js';
import type { DoorCredentials } from '../../src/gateway/index.js';
import {
  beginStream,
  chatBody,
  closeRig,
  contentFrame,
  DONE_FRAME,
  type Rig,
  type RigOptions,
  rawChat,
  startRig,
  until,
} from './gateway-fixture.js';

const file = (name: string) => readFileSync(join(import.meta.dirname, 'tls', name));
const CA = file('ca.pem');
/** Both are for 127.0.0.1. */
const pair = (name: string) => ({ cert: file(`${name}.pem`), key: file(`${name}.key`) });
const HEALTH = 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n';

let rig: Rig;
let credentials: DoorCredentials;
afterEach(async () => {
  vi.restoreAllMocks();
  await closeRig(rig);
});

async function start(options: RigOptions = {}, which: DoorCredentials = pair('engine')): Promise<void> {
  credentials = which;
  rig = await startRig({ ...options, tls: { current: () => credentials } });
}

const port = () => Number(new URL(rig.url).port);

/** A connection to the door and all that has come on it. */
function open(options: ConnectionOptions = {}): { socket: TLSSocket; text: () => string } {
  const socket = connect({ port: port(), host: '127.0.0.1', ca: CA, ...options });
  return { socket, text: listen(socket) };
}

function listen(socket: Socket): () => string {
  let text = '';
  socket.on('error', () => {});
  socket.on('data', (piece) => {
    text += String(piece);
  });
  return () => text;
}

/** `once` would fail at an error that comes before. */
const closing = (socket: Socket) => new Promise((resolve) => socket.once('close', resolve));
const answers = (text: string) => text.match(/HTTP\/1\.1 \d+/g)?.map((line) => Number(line.slice(9))) ?? [];

it('carries plain requests, large ones, streams, and what Node reads, on one connection', async () => {
  await start();
  expect(rig.url).toMatch(/^https:\/\/127\.0\.0\.1:/);
  const { socket, text } = open();
  const asked = async (request: string, count: number) => {
    socket.write(request);
    await until(() => answers(text()).length === count && text().endsWith('}'));
  };
  const toNode = vi.spyOn(ClientConnections.prototype, 'takeOver');
  await asked(rawChat(chatBody()), 1);
  await asked(rawChat(chatBody({ user: 'x'.repeat(300_000) })), 2);
  rig.script = ({ res }) => {
    beginStream(res);
    res.write(contentFrame('a'));
    setTimeout(() => res.end(contentFrame('b', 'stop') + DONE_FRAME), 20);
  };
  socket.write(rawChat(chatBody({ stream: true })));
  await until(() => text().endsWith('data: [DONE]\n\n\r\n0\r\n\r\n'));
  expect(toNode).not.toHaveBeenCalled();
  await asked(HEALTH, 4);
  expect(toNode).toHaveBeenCalledOnce();
  expect(answers(text())).toEqual([200, 200, 200, 200]);
  expect(socket.authorized).toBe(true);
  socket.destroy();
});

it('takes renewed certificates for the next connection, and those that are open go on', async () => {
  await start();
  const first = open();
  await once(first.socket, 'secureConnect');
  credentials = pair('maestro');
  const second = open();
  await once(second.socket, 'secureConnect');
  expect(second.socket.getPeerCertificate().subject).not.toEqual(first.socket.getPeerCertificate().subject);
  for (const { socket, text } of [first, second]) {
    socket.write(HEALTH);
    await until(() => answers(text()).length === 1);
    socket.destroy();
  }
});

it('lets in who shows a certificate, where it asks for one, and nobody else', async () => {
  await start({}, { ...pair('engine'), ca: CA });
  const stranger = open();
  stranger.socket.write(rawChat(chatBody()));
  const known = open(pair('maestro'));
  known.socket.write(rawChat(chatBody()));
  await closing(stranger.socket);
  await until(() => answers(known.text()).length === 1);
  expect(stranger.text()).toBe('');
  expect(rig.received).toHaveLength(1);
  known.socket.destroy();
});

it('closes a connection that speaks no TLS, or does not go on with it', async () => {
  await start({ config: { timeouts: { requestHeadersMs: 300 } } });
  const plain = rig.rawRequest(rawChat(chatBody()));
  const silent = rig.rawRequest('');
  const texts = [plain, silent].map(listen);
  await Promise.all([closing(plain), closing(silent)]);
  expect(texts.map((text) => text())).toEqual(['', '']);
  const { socket, text } = open();
  socket.write(HEALTH);
  await until(() => answers(text()).length === 1);
  socket.destroy();
});

it('cuts connections above the number that one address may have, handshakes among them', async () => {
  await start({ config: { maxConnectionsPerAddress: 1 } });
  const silent = connectPlain(port(), '127.0.0.1');
  await once(silent, 'connect');
  const { socket } = open();
  await closing(socket);
  silent.destroy();
  await once(silent, 'close');
  let status: number | undefined;
  while (status !== 200) {
    const next = open();
    next.socket.write(HEALTH);
    await Promise.race([once(next.socket, 'data').catch(() => undefined), closing(next.socket)]);
    next.socket.destroy();
    [status] = answers(next.text());
  }
});

it('serves who was connecting when the gateway closes, and ends without who never says anything', async () => {
  await start();
  const silent = rig.rawRequest('');
  const connecting = connectPlain(port(), '127.0.0.1');
  await once(connecting, 'connect');
  // Connections are taken in in their order.
  const last = open();
  last.socket.write(HEALTH);
  await until(() => answers(last.text()).length === 1);
  const closed = rig.gateway.close(20_000);
  const { socket, text } = open({ socket: connecting });
  socket.write(rawChat(chatBody()));
  await until(() => text().includes('"chatcmpl-1"'));
  await Promise.all([closed, once(silent, 'close')]);
  expect(answers(text())).toEqual([200]);
});
