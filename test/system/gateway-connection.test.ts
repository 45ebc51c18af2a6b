/** A client's connection: plain requests are read by the gateway itself, and whatever else comes on it by Node's server. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import {
  beginStream,
  chatBody,
  closeRig,
  contentFrame,
  DONE_FRAME,
  type Rig,
  type RigOptions,
  rawChat,
  sendCompletion,
  startRig,
  until,
} from './gateway-fixture.js';

let rig: Rig;
afterEach(() => closeRig(rig));

async function start(options: RigOptions = {}): Promise<void> {
  rig = await startRig(options);
  rig.script = ({ res }) => sendCompletion(res);
}

/** Collects what comes; `text()` is all of it until now. */
function listen(socket: Socket): () => string {
  let text = '';
  socket.on('data', (piece) => {
    text += String(piece);
  });
  return () => text;
}

const answers = (text: string) => text.match(/HTTP\/1\.1 \d+/g)?.map((line) => Number(line.slice(9))) ?? [];
const HEALTH = 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n';

it('carries one request after the other, and tells how long it stays', async () => {
  await start({ config: { timeouts: { keepAliveMs: 75_000 } } });
  const socket = rig.rawRequest(rawChat(chatBody()));
  const text = listen(socket);
  for (let count = 1; count <= 3; count++) {
    await until(() => text().split('"chatcmpl-1"').length === count + 1);
    socket.write(rawChat(chatBody()));
  }
  await until(() => answers(text()).length === 4);
  expect(text().match(/\r\nConnection: keep-alive\r\nKeep-Alive: timeout=75\r\n/g)).toHaveLength(4);
  expect(text()).toMatch(/\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n/);
  socket.destroy();
});

it.each([1, 7, 100])('takes a request in pieces of %d bytes', async (size) => {
  await start();
  const request = rawChat(chatBody());
  const socket = rig.rawRequest('');
  socket.setNoDelay(true);
  const text = listen(socket);
  for (let at = 0; at < request.length; at += size) {
    socket.write(request.slice(at, at + size));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until(() => text().includes('"chatcmpl-1"'));
  expect(rig.received[0]!.body).toContain('"hello"');
  socket.destroy();
});

it('serves what is not plain between requests that are', async () => {
  await start();
  const socket = rig.rawRequest(rawChat(chatBody()));
  const text = listen(socket);
  await until(() => answers(text()).length === 1);
  socket.write(HEALTH);
  await until(() => answers(text()).length === 2);
  socket.write(rawChat(chatBody()));
  await until(() => answers(text()).length === 3);
  expect(answers(text())).toEqual([200, 200, 200]);
  socket.destroy();
});

it('reads what a client sends before it has its answer when that has left', async () => {
  await start();
  rig.scheduling.onSubmit = () => {};
  const socket = rig.rawRequest(rawChat(chatBody()));
  const text = listen(socket);
  await until(() => rig.scheduling.submitted.length === 1);
  socket.write(rawChat(chatBody({ user: 'x'.repeat(100_000) })) + HEALTH);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(rig.scheduling.submitted).toHaveLength(1);
  rig.scheduling.onSubmit = undefined;
  rig.scheduling.start(rig.scheduling.submitted[0]!);
  await until(() => answers(text()).length === 3);
  expect(text().indexOf('"status":"ok"')).toBeGreaterThan(text().lastIndexOf('"chatcmpl-1"'));
  expect(rig.received[1]!.body).toContain('x'.repeat(100_000));
  socket.destroy();
});

it('with rubbish behind a request gets the whole answer, is told, and ends', async () => {
  await start();
  rig.script = ({ res }) => {
    beginStream(res);
    res.write(contentFrame('a'));
    setTimeout(() => res.end(contentFrame('b', 'stop') + DONE_FRAME), 50);
  };
  const socket = rig.rawRequest(rawChat(chatBody({ stream: true })));
  const text = listen(socket);
  socket.once('data', () => socket.write('rubbish\r\n\r\n'));
  await once(socket, 'close');
  expect(answers(text())).toEqual([200, 400]);
  expect(text()).toMatch(/data: \[DONE\]\n\n\r\n0\r\n\r\nHTTP\/1\.1 400 /);
});

it('ends when it has been idle for long, not while it carries a request', async () => {
  await start({ config: { timeouts: { keepAliveMs: 300 } } });
  rig.script = ({ res }) => {
    setTimeout(() => sendCompletion(res), 1_500);
  };
  const socket = rig.rawRequest(rawChat(chatBody()));
  const text = listen(socket);
  await once(socket, 'close');
  expect(answers(text())).toEqual([200]);
});

it('of a client that says nothing at all ends after the time for headers', async () => {
  await start({ config: { timeouts: { requestHeadersMs: 300, requestBodyMs: 600 } } });
  const socket = rig.rawRequest('');
  const text = listen(socket);
  await once(socket, 'close');
  expect(answers(text())).toEqual([408]);
});

it('ends with an answer that comes before the whole request has', async () => {
  await start({ config: { keys: [{ key: 'secret', tenant: 'a' }] } });
  const socket = rig.rawRequest(rawChat(`{"a":"${HEALTH}"}`.padEnd(2_000)).slice(0, -1_900));
  const text = listen(socket);
  // What would be a request of its own is a part of the body that nobody reads.
  const more = setInterval(() => socket.write(HEALTH), 1);
  await once(socket, 'close');
  clearInterval(more);
  expect(answers(text())).toEqual([401]);
  expect(text()).toMatch(/\r\nConnection: close\r\n/);
});

it.each(['', HEALTH])(
  'takes the rest of a body that is refused, so that its client gets to read why (%j before it)',
  async (before) => {
    await start({ config: { keys: [{ key: 'secret', tenant: 'a' }] } });
    const socket = connect({ port: Number(new URL(rig.url).port), host: '127.0.0.1', allowHalfOpen: true });
    const text = listen(socket);
    const request = rawChat('x'.repeat(1_000_000));
    const errors: Error[] = [];
    socket.on('error', (error) => errors.push(error));
    // Where anything else was asked before, Node's server has the connection.
    socket.write(before + request.slice(0, 2_000));
    await until(() => answers(text()).includes(401));
    for (let at = 2_000; at < request.length; at += 100_000) {
      await new Promise((resolve) => socket.write(request.slice(at, at + 100_000), resolve));
    }
    socket.end();
    await once(socket, 'close');
    expect(errors).toEqual([]);
    expect(answers(text()).at(-1)).toBe(401);
  },
);

it('of a client that goes on sending what has been refused ends after the time for bodies', async () => {
  await start({
    config: { keys: [{ key: 'secret', tenant: 'a' }], timeouts: { requestHeadersMs: 300, requestBodyMs: 300 } },
  });
  const socket = connect({ port: Number(new URL(rig.url).port), host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => {});
  socket.write(rawChat('x'.repeat(1_000_000)).slice(0, 2_000));
  const more = setInterval(() => socket.write('x'), 10);
  await new Promise((resolve) => socket.once('close', resolve));
  clearInterval(more);
});

it('without a request ends when the gateway closes, and one with a request after its answer', async () => {
  await start();
  rig.scheduling.onSubmit = () => {};
  const idle = rig.rawRequest('');
  const busy = rig.rawRequest(rawChat(chatBody()));
  const text = listen(busy);
  await until(() => rig.scheduling.submitted.length === 1);
  const closed = rig.gateway.close(10_000);
  await once(idle, 'close');
  rig.scheduling.start(rig.scheduling.submitted[0]!);
  await once(busy, 'close');
  await closed;
  expect(answers(text())).toEqual([200]);
  expect(text()).toContain('\r\nConnection: close\r\n');
});

it.each(['', HEALTH])(
  'that was taken in before the gateway closes gets its first answer (%j before it)',
  async (before) => {
    await start();
    const newcomer = rig.rawRequest('');
    const text = listen(newcomer);
    // Connections are taken in in their order.
    const second = rig.rawRequest(HEALTH);
    await once(second, 'data');
    const closed = rig.gateway.close(10_000);
    newcomer.write(before + rawChat(chatBody()));
    await once(newcomer, 'close');
    await closed;
    expect(answers(text()).at(-1)).toBe(200);
    expect(text()).toContain('"chatcmpl-1"');
  },
);
