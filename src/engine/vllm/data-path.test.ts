import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { DataCall, DataHandler } from '../../bus/contract.js';
import { ManualClock } from '../../model/clock.js';
import { EnginePath } from './data-path.js';

/** An event may take as long as a busy machine needs. */
const SOON = { timeout: 20_000 };

const ANSWER = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';

let server: Server;
let path: EnginePath;
let clock: ManualClock;
let sockets: Socket[];
/** What each socket of the server got. */
let requests: string[];
let onRequest: (socket: Socket) => void;

beforeEach(async () => {
  sockets = [];
  requests = [];
  onRequest = (socket) => socket.write(ANSWER);
  server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      requests.push(bytes.toString('latin1'));
      onRequest(socket);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  clock = new ManualClock();
  const { port } = server.address() as AddressInfo;
  path = new EnginePath({ origin: `http://127.0.0.1:${port}`, apiKey: 'k', keepAliveMs: 1000, clock });
});

afterEach(async () => {
  path.close();
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

interface Told {
  call: DataCall | undefined;
  readonly events: string[];
  body: string;
  /** Resolves at the end or the error. */
  readonly over: Promise<void>;
}

function send(body: Buffer | undefined, headers: string[] = [], onData?: (call: DataCall) => void): Told {
  let resolve = () => {};
  const told: Told = { call: undefined, events: [], body: '', over: new Promise((done) => (resolve = done)) };
  const { events } = told;
  path.dispatch(
    { method: body ? 'POST' : 'GET', path: '/v1/x?a=b', headers, body },
    {
      onStart(call) {
        told.call = call;
      },
      onHead: (status) => events.push(`head ${status}`),
      onData(bytes) {
        told.body += bytes.toString();
        onData?.(told.call!);
      },
      onEnd(rest) {
        told.body += rest?.toString() ?? '';
        events.push('end');
        resolve();
      },
      onError(error, unanswered) {
        events.push(`error ${unanswered} ${error.message}`);
        resolve();
      },
      onFault(thrown) {
        events.push(`fault ${thrown}`);
        resolve();
      },
    },
  );
  return told;
}

describe('EnginePath', () => {
  it('sends small and large requests as they are, and keeps the connection for the next', async () => {
    const small = Buffer.from('{"a":"é"}');
    const first = send(small, ['x-a', 'b']);
    await first.over;
    expect(first).toMatchObject({ events: ['head 200', 'end'], body: 'ok' });
    const { port } = server.address() as AddressInfo;
    expect(requests[0]).toBe(
      `POST /v1/x?a=b HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nconnection: keep-alive\r\nauthorization: Bearer k\r\nx-a: b\r\ncontent-length: 10\r\n\r\n${small.toString('latin1')}`,
    );
    const large = Buffer.alloc(100_000, 'x');
    requests = [];
    onRequest = (socket) => {
      if (requests.join('').endsWith('x') && requests.join('').length > large.length) socket.write(ANSWER);
    };
    await send(large).over;
    expect(requests.join('').split('\r\n\r\n')[1]).toBe(large.toString());
    requests = [];
    onRequest = (socket) => socket.write(ANSWER);
    await send(undefined).over;
    expect(requests[0]).toMatch(/^GET .*keep-alive\r\nauthorization: Bearer k\r\n\r\n$/s);
    expect([sockets.length, path.size]).toEqual([1, 1]);
  });

  it.each([
    ['a header with a line break', ['x', 'a\r\nb: c'], '/'],
    ['a header beyond Latin-1', ['x', '…'], '/'],
    ['a path with a space', [], '/a b'],
  ])('sends nothing with %s', (_what, headers, target) => {
    const handler = { onStart() {}, onHead() {}, onData() {}, onEnd() {}, onError() {}, onFault() {} };
    expect(() => path.dispatch({ method: 'GET', path: target, headers, body: undefined }, handler)).toThrow(TypeError);
    expect(path.size).toBe(0);
  });

  it('does not use a connection that has been idle for long, and closes it', async () => {
    await send(undefined).over;
    // The look for old connections comes once in that time.
    clock.advance(2001);
    await vi.waitFor(() => expect(path.size).toBe(0), SOON);
    await send(undefined).over;
    expect(sockets).toHaveLength(2);
  });

  it('does not use a connection on which something came unasked', async () => {
    await send(undefined).over;
    sockets[0]!.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil');
    await vi.waitFor(() => expect(path.size).toBe(0), SOON);
    const next = send(undefined);
    await next.over;
    expect(next.body).toBe('ok');
    expect(sockets).toHaveLength(2);
  });

  it('says of a break whether the connection had been idle and nothing of the answer had come', async () => {
    onRequest = (socket) => socket.destroy();
    const fresh = send(undefined);
    await fresh.over;
    expect(fresh.events).toEqual([expect.stringMatching(/^error false /)]);
    onRequest = (socket) => socket.write(ANSWER);
    await send(undefined).over;
    onRequest = (socket) => socket.destroy();
    const idle = send(undefined);
    await idle.over;
    expect(idle.events).toEqual([expect.stringMatching(/^error true /)]);
    onRequest = (socket) => socket.write(ANSWER);
    await send(undefined).over;
    onRequest = (socket) => socket.end('HTTP/1.1 100 Continue\r\n\r\n');
    const begun = send(undefined);
    await begun.over;
    expect(begun.events).toEqual([expect.stringMatching(/^error false /)]);
  });

  it('stops reading while it is paused, and gives the connection back in working order', async () => {
    onRequest = (socket) => socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n${'x'.repeat(5_000_000)}`);
    let reads = 0;
    const told = send(undefined, [], (call) => {
      reads += 1;
      call.pause();
    });
    await vi.waitFor(() => expect(reads).toBe(1), SOON);
    await new Promise((resolve) => setImmediate(resolve));
    expect(reads).toBe(1);
    const resuming = setInterval(() => told.call?.resume(), 1);
    await told.over;
    clearInterval(resuming);
    expect(told.body).toHaveLength(5_000_000);
    onRequest = (socket) => socket.write(ANSWER);
    const next = send(undefined);
    await next.over;
    expect([next.body, sockets.length]).toEqual(['ok', 1]);
  });

  it('closes the connection of a call that is aborted, and says no more of it', async () => {
    onRequest = () => {};
    const told = send(undefined);
    await vi.waitFor(() => expect(requests).toHaveLength(1), SOON);
    const closed = once(sockets[0]!, 'close');
    told.call!.abort();
    await closed;
    await vi.waitFor(() => expect(path.size).toBe(0), SOON);
    expect(told.events).toEqual([]);
  });

  it('tells of an engine that nobody listens at, before the request has started', async () => {
    await new Promise((resolve) => server.close(resolve));
    const told = send(undefined);
    await told.over;
    expect(told.call).toBeUndefined();
    expect(told.events).toEqual([expect.stringMatching(/^error false .*ECONNREFUSED/)]);
    server.listen(0);
  });
});

describe('a listener that throws', () => {
  function sendTo(throwing: Partial<DataHandler>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const handler = { onStart() {}, onHead() {}, onData() {}, onEnd() {}, onError: reject, onFault: resolve };
      path.dispatch({ method: 'GET', path: '/', headers: [], body: undefined }, { ...handler, ...throwing });
    });
  }
  const bug = new Error('bug');
  const throws = () => {
    throw bug;
  };

  it.each([
    ['the head', { onHead: throws }, ANSWER],
    ['a part of the body', { onData: throws }, ANSWER.slice(0, -1)],
    ['the end of a connection', { onEnd: throws }, 'close'],
    ['an error', { onError: throws }, 'not HTTP\r\n\r\n'],
  ])('at %s is told so, and its connection ends', async (_when, throwing, answer) => {
    onRequest = (socket) => (answer === 'close' ? socket.end('HTTP/1.1 200 OK\r\n\r\n') : socket.write(answer));
    expect(await sendTo(throwing)).toBe(bug);
    await vi.waitFor(() => expect(path.size).toBe(0));
  });

  it('at the end of an answer is told so, and the next goes out on its connection', async () => {
    expect(await sendTo({ onEnd: throws })).toBe(bug);
    await send(undefined).over;
    expect(sockets).toHaveLength(1);
  });
});

describe('a connection that cannot be trusted with another request', () => {
  it('is closed when the answer has come before the request was out', async () => {
    onRequest = (socket) => {
      // The rest of the request is never read.
      socket.pause();
      socket.write(ANSWER);
      onRequest = (next) => next.write(ANSWER);
    };
    await send(Buffer.alloc(32 * 1024 * 1024)).over;
    await send(undefined).over;
    expect(sockets).toHaveLength(2);
  });
});

describe('an engine that has left the fleet', () => {
  it('listens no more for whoever still has its address', async () => {
    path.close();
    const told = send(undefined);
    await told.over;
    expect([told.call, told.events, sockets]).toEqual([undefined, ['error false the engine has left the fleet'], []]);
  });
});

describe('an engine that takes no connection', () => {
  it('is given up after three seconds, and nothing was sent', async () => {
    // It listens and never accepts; once the backlog is full, whoever comes hears nothing.
    const script =
      "const s = require('node:net').createServer(); s.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => { require('node:fs').writeSync(1, String(s.address().port)); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); });";
    const deaf = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'ignore'] });
    try {
      const [printed] = await once(deaf.stdout, 'data');
      const port = Number(printed);
      for (let count = 0; count < 8; count++) {
        const filler = connect(port, '127.0.0.1').on('error', () => {});
        sockets.push(filler);
      }
      path.close();
      path = new EnginePath({ origin: `http://127.0.0.1:${port}`, keepAliveMs: 1000, clock });
      const told = send(undefined);
      await told.over;
      expect(told.call).toBeUndefined();
      expect(told.events).toEqual(['error false the engine did not take the connection in time']);
    } finally {
      deaf.kill('SIGKILL');
    }
  });
});
