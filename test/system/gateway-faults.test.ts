import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { WallClock } from '../../src/bus/wall-clock.js';
import { EnginePath } from '../../src/engine/vllm/data-path.js';
import {
  beginStream,
  COMPLETION,
  chatBody,
  closeRig,
  contentFrame,
  DONE_FRAME,
  postChat,
  type Rig,
  type RigOptions,
  rawChat,
  sendCompletion,
  startRig,
  USAGE_FRAME,
  until,
} from './gateway-fixture.js';

let rig: Rig;

async function start(options: RigOptions = {}): Promise<void> {
  rig = await startRig(options);
}

afterEach(() => closeRig(rig));

/** Reads from a socket until what came satisfies the condition, or it closes. */
async function readUntil(socket: NodeJS.ReadableStream, enough: (text: string) => boolean): Promise<string> {
  let text = '';
  for await (const piece of socket) {
    text += String(piece);
    if (enough(text)) break;
  }
  return text;
}

describe('a client that leaves', () => {
  it('while its body is read', async () => {
    await start();
    const socket = rig.rawRequest(rawChat(chatBody()).slice(0, -5));
    await until(() => rig.gateway.openRequests === 1);
    socket.destroy();
    await until(() => rig.gateway.openRequests === 0);
    expect(rig.metrics.ledger().outcomes.client_cancelled).toBe(1);
    expect(rig.scheduling.submitted).toHaveLength(0);
  });

  it('while queued: the engine never hears of it, even when it is started later', async () => {
    await start();
    rig.scheduling.onSubmit = () => {};
    const socket = rig.rawRequest(rawChat(chatBody()));
    await until(() => rig.scheduling.submitted.length === 1);
    socket.destroy();
    await until(() => rig.gateway.openRequests === 0);
    const [submitted] = rig.scheduling.submitted;
    expect(submitted!.outcomes).toMatchObject([{ kind: 'client_cancelled', httpStatus: 499 }]);
    rig.scheduling.start(submitted!);
    await new Promise((resolve) => setImmediate(resolve));
    expect(rig.received).toHaveLength(0);
  });

  it.each([
    ['before the head of a stream', true, () => {}],
    ['before the first event', true, beginStream],
    [
      'while a stream flows',
      true,
      (res: Parameters<typeof beginStream>[0]) => {
        beginStream(res);
        res.write(contentFrame('a'));
      },
    ],
    ['before a whole answer', false, () => {}],
  ] as const)('%s: the engine is told at once', async (_name, stream, answer) => {
    await start();
    rig.script = ({ res }) => answer(res);
    const socket = rig.rawRequest(rawChat(chatBody({ stream })));
    await until(() => rig.received.length === 1);
    if (_name === 'while a stream flows') await readUntil(socket, (text) => text.includes('"a"'));
    socket.destroy();
    await rig.received[0]!.aborted;
    await until(() => rig.gateway.openRequests === 0);
    expect(rig.scheduling.submitted[0]!.outcomes).toMatchObject([{ kind: 'client_cancelled', httpStatus: 499 }]);
    const text = await (await fetch(`${rig.url}/metrics`)).text();
    expect(text).toMatch(/maestro_upstream_aborts_total\{cause="client",phase="(waiting|flowing)"\} 1/);
  });

  it('with requests that wait for the answers before theirs on the same connection', async () => {
    await start();
    rig.scheduling.onSubmit = () => {};
    const socket = rig.rawRequest(rawChat(chatBody()).repeat(20));
    await until(() => rig.scheduling.submitted.length === 20);
    // One of them is in its engine.
    rig.script = () => {};
    rig.scheduling.start(rig.scheduling.submitted[7]!);
    await until(() => rig.received.length === 1);
    socket.destroy();
    await rig.received[0]!.aborted;
    await until(() => rig.gateway.openRequests === 0);
    expect(rig.scheduling.submitted.flatMap(({ outcomes }) => outcomes.map(({ kind }) => kind))).toEqual(
      Array.from({ length: 20 }, () => 'client_cancelled'),
    );
  });
});

it('a client that sends rubbish in the middle of its answer is cut, and the answer holds nothing else', async () => {
  await start();
  rig.script = ({ res }) => {
    beginStream(res);
    res.write(contentFrame('a'));
  };
  // A request in chunks is read by Node's server, which goes on reading while it answers.
  const inChunks = rawChat('').replace('Content-Length: 0', 'Transfer-Encoding: chunked');
  const body = chatBody({ stream: true });
  const socket = rig.rawRequest(`${inChunks}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`);
  let answer = '';
  socket.on('data', (piece) => {
    if (answer === '') socket.write('rubbish\r\n\r\n');
    answer += String(piece);
  });
  await once(socket, 'close');
  expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1);
  await until(() => rig.gateway.openRequests === 0);
  expect(rig.scheduling.submitted[0]!.outcomes).toMatchObject([{ kind: 'client_cancelled' }]);
});

it('a bug of ours while an answer comes ends the request as internal, and its call to the engine', async () => {
  const lines: string[] = [];
  await start({ logLines: (line) => lines.push(line) });
  rig.script = ({ res }) => {
    beginStream(res);
    res.write(contentFrame('a'));
  };
  rig.scheduling.onFirstToken = () => {
    throw new Error('a bug');
  };
  const answer = await postChat(rig, chatBody({ stream: true }));
  expect(await answer.text()).toContain('"internal_error"');
  await rig.received[0]!.aborted;
  await until(() => rig.gateway.openRequests === 0);
  expect(rig.scheduling.submitted[0]!.outcomes).toMatchObject([{ kind: 'internal' }]);
  expect(lines.filter((line) => line.includes('a bug'))).toHaveLength(1);
});

describe('a client that does not read', () => {
  it('stops the engine, and little is kept for it', async () => {
    await start();
    let sentBytes = 0;
    const frame = contentFrame('x'.repeat(10_000));
    rig.script = ({ res }) => {
      beginStream(res);
      const pump = () => {
        while (!res.destroyed && sentBytes < 256e6) {
          sentBytes += frame.length;
          if (!res.write(frame)) return res.once('drain', pump);
        }
        return undefined;
      };
      pump();
    };
    const socket = rig.rawRequest(rawChat(chatBody({ stream: true })));
    socket.pause();
    // The stream stands still when the engine's own writes have stopped for a while: everything on the way is full.
    for (let quiet = 0, last = -1; quiet < 20; quiet = sentBytes === last ? quiet + 1 : 0, last = sentBytes) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(sentBytes).toBeLessThan(32e6);
    socket.destroy();
    await rig.received[0]!.aborted;
    await until(() => rig.gateway.openRequests === 0);
  });

  it('gets everything when it goes on reading', async () => {
    await start();
    const frames = Array.from({ length: 3000 }, (_, index) => contentFrame(`${index}`.padEnd(2000, 'y')));
    rig.script = ({ res }) => {
      beginStream(res);
      for (const frame of frames) res.write(frame);
      res.end(USAGE_FRAME + DONE_FRAME);
    };
    const answer = await postChat(rig, chatBody({ stream: true }));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await answer.text()).toBe(frames.join('') + DONE_FRAME);
  });

  it('is cut after a while', async () => {
    await start({ config: { timeouts: { idleWriteMs: 150 } } });
    rig.script = ({ res }) => {
      beginStream(res);
      const pump = () => {
        while (!res.destroyed) if (!res.write(contentFrame('x'.repeat(10_000)))) return res.once('drain', pump);
        return undefined;
      };
      pump();
    };
    const socket = rig.rawRequest(rawChat(chatBody({ stream: true })));
    socket.pause();
    await until(() => rig.received.length === 1);
    await rig.received[0]!.aborted;
    await until(() => rig.gateway.openRequests === 0);
    expect(rig.scheduling.submitted[0]!.outcomes).toMatchObject([{ kind: 'client_cancelled', reason: 'idle-write' }]);
    socket.destroy();
  });

  it('is not one whose answer waits for the one before it on the same connection', async () => {
    await start({ config: { timeouts: { idleWriteMs: 150 } } });
    rig.script = (request) => {
      if (!request.body.includes('slow')) return sendCompletion(request.res);
      setTimeout(() => sendCompletion(request.res), 600);
      return undefined;
    };
    const socket = rig.rawRequest(rawChat(chatBody({ user: 'slow' })) + rawChat(chatBody()));
    const both = await readUntil(socket, (text) => text.split('"chatcmpl-1"').length === 3);
    expect(both.match(/HTTP\/1\.1 200 /g)).toHaveLength(2);
    socket.destroy();
  });

  it('is cut after a while when its answers are complete, too', async () => {
    await start({ config: { timeouts: { idleWriteMs: 150 } } });
    const body = JSON.stringify({ ...COMPLETION, padding: 'x'.repeat(60_000) });
    rig.script = ({ res }) => {
      res.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body);
    };
    // One request behind the other on one connection, until the ends of answers wait for their reader.
    const socket = rig.rawRequest(rawChat(chatBody()).repeat(1_000));
    socket.pause();
    for (let quiet = 0, last = 0; quiet < 20; quiet = rig.received.length === last ? quiet + 1 : 0) {
      last = rig.received.length;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(rig.received.length).toBeLessThan(1_000);
    await until(() => rig.gateway.openRequests === 0);
    socket.destroy();
  });
});

describe('time limits', () => {
  it('queue', async () => {
    await start({ config: { timeouts: { queueMs: 50 } } });
    rig.scheduling.onSubmit = () => {};
    const answer = await postChat(rig, chatBody());
    expect(answer.status).toBe(429);
    expect(answer.headers.get('retry-after')).toBe('1');
    expect(rig.scheduling.submitted[0]!.outcomes).toMatchObject([{ kind: 'rejected', reason: 'queue_timeout' }]);
  });

  it('first token: the head of the engine does not count', async () => {
    await start({ config: { timeouts: { firstTokenMs: 50 } } });
    rig.script = ({ res }) => beginStream(res);
    const answer = await postChat(rig, chatBody({ stream: true }));
    expect(answer.status).toBe(504);
    await rig.received[0]!.aborted;
    expect(rig.scheduling.submitted[0]!.outcomes).toMatchObject([
      { kind: 'engine_failed', reason: 'first_token_timeout' },
    ]);
  });

  it('between tokens: an error event, no [DONE]', async () => {
    await start({ config: { timeouts: { betweenTokensMs: 50 } } });
    rig.script = ({ res }) => {
      beginStream(res);
      res.write(contentFrame('a'));
    };
    const text = await (await postChat(rig, chatBody({ stream: true }))).text();
    expect(text.startsWith(contentFrame('a'))).toBe(true);
    expect(text).toContain('"code":"token_timeout"');
    expect(text).not.toContain('[DONE]');
    await rig.received[0]!.aborted;
  });

  it('total', async () => {
    await start({ config: { timeouts: { totalMs: 50 } } });
    rig.script = () => {};
    const answer = await postChat(rig, chatBody());
    expect(answer.status).toBe(504);
    expect(rig.scheduling.submitted[0]!.outcomes).toMatchObject([{ kind: 'deadline', reason: 'deadline_exceeded' }]);
  });
});

describe('closing', () => {
  it('lets running streams finish, and refuses new requests on open connections', async () => {
    await start();
    let finish = () => {};
    rig.script = ({ res }) => {
      beginStream(res);
      res.write(contentFrame('a'));
      finish = () => res.end(contentFrame('b', 'stop') + USAGE_FRAME + DONE_FRAME);
    };
    const answer = await postChat(rig, chatBody({ stream: true }));
    // A second connection is in the middle of a request's head when closing begins.
    const late = rig.rawRequest('POST /v1/chat/completions HTTP/1.1\r\n');
    await once(late, 'connect');
    await new Promise((resolve) => setTimeout(resolve, 20));
    const closed = rig.gateway.close(10_000);
    const body = chatBody();
    late.write(`Host: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    expect(await readUntil(late, (text) => text.includes('shutting_down'))).toMatch(/^HTTP\/1\.1 503 /);
    finish();
    expect(await answer.text()).toBe(contentFrame('a') + contentFrame('b', 'stop') + DONE_FRAME);
    await closed;
    expect(rig.metrics.ledger().outcomes.completed).toBe(1);
  });

  it('tells those that do not finish in time', async () => {
    await start();
    rig.script = ({ res }) => {
      beginStream(res);
      res.write(contentFrame('a'));
    };
    const answer = await postChat(rig, chatBody({ stream: true }));
    const closed = rig.gateway.close(20);
    const text = await answer.text();
    expect(text).toContain('"code":"shutting_down"');
    expect(text).not.toContain('[DONE]');
    await closed;
    await rig.received[0]!.aborted;
  });
});

describe('limits', () => {
  it('a body that says it is too large is refused unread, one that becomes too large as well', async () => {
    await start({ config: { bodyLimitBytes: 1000 } });
    const large = chatBody({ padding: 'x'.repeat(2000) });
    expect((await postChat(rig, large)).status).toBe(413);
    const announced = rig.rawRequest(rawChat(large).slice(0, -large.length));
    expect(await readUntil(announced, (text) => text.includes('body_too_large'))).toMatch(/^HTTP\/1\.1 413 /);
    announced.destroy();
    const chunked = rig.rawRequest(
      `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${large.length.toString(16)}\r\n${large}\r\n`,
    );
    expect(await readUntil(chunked, (text) => text.includes('body_too_large'))).toMatch(/^HTTP\/1\.1 413 /);
    chunked.destroy();
    expect((await postChat(rig, chatBody({ padding: 'x'.repeat(800) }))).status).toBe(200);
  });

  it('headers have less time than bodies', async () => {
    await start({ config: { timeouts: { requestHeadersMs: 200, requestBodyMs: 3_600_000 } } });
    const slow = rig.rawRequest('POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Slow: ');
    expect(await readUntil(slow, (text) => text.includes('\r\n\r\n'))).toMatch(/^HTTP\/1\.1 408 /);
    slow.destroy();
  });

  it('open requests and their bytes', async () => {
    await start({ config: { maxOpenRequests: 1, maxOpenBytes: 5000 } });
    rig.scheduling.onSubmit = () => {};
    const first = postChat(rig, chatBody());
    await until(() => rig.scheduling.submitted.length === 1);
    const second = await postChat(rig, chatBody());
    expect([second.status, second.headers.get('x-maestro-reason')]).toEqual([429, 'too-many-requests']);
    rig.scheduling.start(rig.scheduling.submitted[0]!);
    expect((await first).status).toBe(200);
    rig.scheduling.onSubmit = undefined;
    const large = await postChat(rig, chatBody({ padding: 'x'.repeat(6000) }));
    expect([large.status, large.headers.get('x-maestro-reason')]).toEqual([429, 'too-many-bytes']);
    await until(() => rig.gateway.openRequests === 0);
    expect((await postChat(rig, chatBody())).status).toBe(200);
  });

  it('open requests of a tenant, whose places are free again however they end', async () => {
    const keys = [
      { key: 'key-of-a', tenant: 'a', maxOpenRequests: 1 },
      { key: 'another-of-a', tenant: 'a', maxOpenRequests: 1 },
      { key: 'key-of-b', tenant: 'b' },
    ];
    await start({ config: { keys } });
    rig.scheduling.onSubmit = () => {};
    const ask = (key: string, signal?: AbortSignal) =>
      fetch(`${rig.url}/v1/chat/completions`, {
        ...{ method: 'POST', body: chatBody(), signal: signal ?? null },
        headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      });
    const leaving = new AbortController();
    const first = ask('key-of-a', leaving.signal).catch(() => undefined);
    await until(() => rig.scheduling.submitted.length === 1);
    const second = await ask('another-of-a');
    expect(second.status).toBe(429);
    expect([second.headers.get('x-maestro-reason'), second.headers.get('retry-after')]).toEqual([
      'too-many-of-tenant',
      '1',
    ]);
    const other = ask('key-of-b');
    await until(() => rig.scheduling.submitted.length === 2);
    leaving.abort();
    await first;
    rig.scheduling.start(rig.scheduling.submitted[1]!);
    expect((await other).status).toBe(200);
    await until(() => rig.gateway.openRequests === 0);
    rig.scheduling.onSubmit = undefined;
    for (let turn = 0; turn < 2; turn++) {
      expect((await ask('key-of-a')).status).toBe(200);
      await until(() => rig.gateway.openRequests === 0);
    }
  });

  it('bytes of a body that nobody announced, as they come', async () => {
    await start({ config: { maxOpenBytes: 5000 } });
    const chunk = `${(3000).toString(16)}\r\n${' '.repeat(3000)}\r\n`;
    const head = 'POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n';
    const socket = rig.rawRequest(head + chunk + chunk);
    expect(await readUntil(socket, (text) => text.includes('queue_full'))).toMatch(/^HTTP\/1\.1 429 /);
    socket.destroy();
    await until(() => rig.gateway.openRequests === 0);
    expect((await postChat(rig, chatBody())).status).toBe(200);
  });

  it('an overlong header is 431', async () => {
    await start({ config: { headerLimitBytes: 4096 } });
    const socket = rig.rawRequest(`GET /health HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(5000)}\r\n\r\n`);
    expect(await readUntil(socket, () => false)).toMatch(/^HTTP\/1\.1 431 /);
  });

  it('a request id in use is not used twice', async () => {
    await start();
    rig.scheduling.onSubmit = () => {};
    const headers = { 'x-request-id': 'same' };
    const first = postChat(rig, chatBody(), headers);
    await until(() => rig.scheduling.submitted.length === 1);
    const second = postChat(rig, chatBody(), headers);
    await until(() => rig.scheduling.submitted.length === 2);
    expect(rig.scheduling.submitted.map(({ stage }) => stage.stageId)).toEqual([
      'same',
      expect.stringMatching(/^req-/),
    ]);
    for (const submitted of rig.scheduling.submitted) rig.scheduling.start(submitted);
    expect([(await first).status, (await second).status]).toEqual([200, 200]);
  });
});

describe('streams cut anywhere', () => {
  it('arrive unchanged when the engine writes three bytes at a time, inside characters too', async () => {
    await start();
    const frames = contentFrame('żółć 🎼') + contentFrame('"usage" and "error"') + contentFrame('b', 'stop');
    rig.script = ({ res }) => {
      beginStream(res);
      const bytes = Buffer.from(frames + USAGE_FRAME + DONE_FRAME);
      let offset = 0;
      const next = () => {
        if (offset >= bytes.length) return res.end();
        res.write(bytes.subarray(offset, offset + 3));
        offset += 3;
        return setImmediate(next);
      };
      next();
    };
    const answer = await postChat(rig, chatBody({ stream: true }));
    expect(await answer.text()).toBe(frames + DONE_FRAME);
    expect(answer.headers.get('cache-control')).toBe('no-cache');
    expect(answer.headers.get('x-accel-buffering')).toBe('no');
  });

  it('reach a client of HTTP/1.0 without chunks, and leave a kept connection usable', async () => {
    await start();
    rig.script = ({ res }) => {
      beginStream(res);
      res.write(contentFrame('a'));
      setImmediate(() => res.end(contentFrame('b', 'stop') + USAGE_FRAME + DONE_FRAME));
    };
    const frames = contentFrame('a') + contentFrame('b', 'stop') + DONE_FRAME;
    const request = rawChat(chatBody({ stream: true }));
    const old = await readUntil(rig.rawRequest(request.replace('HTTP/1.1', 'HTTP/1.0')), () => false);
    expect(old.slice(old.indexOf('\r\n\r\n') + 4)).toBe(frames);
    const both = await readUntil(rig.rawRequest(request + request), (text) => text.split('0\r\n\r\n').length === 3);
    expect(both.match(/HTTP\/1\.1 200 /g)).toHaveLength(2);
    expect(both.match(/transfer-encoding: chunked/gi)).toHaveLength(2);
    expect(both.match(/\[DONE\]/g)).toHaveLength(2);
  });

  it('events of one read go out in one chunk', async () => {
    await start();
    const frames = Array.from({ length: 65 }, (_, index) => contentFrame(`${index}`));
    rig.script = ({ res }) => {
      beginStream(res);
      // One write of the engine's socket, one HTTP chunk for each event.
      res.cork();
      setImmediate(() => {
        const { socket } = res;
        res.uncork();
        socket!.cork();
        for (const frame of frames) socket!.write(`${Buffer.byteLength(frame).toString(16)}\r\n${frame}\r\n`);
        socket!.uncork();
        setTimeout(() => res.end(USAGE_FRAME + DONE_FRAME), 20);
      });
    };
    const chunks = await new Promise<Buffer[]>((resolve) => {
      const pieces: Buffer[] = [];
      const req = httpRequest(`${rig.url}/v1/chat/completions`, { method: 'POST' }, (res) => {
        res.on('data', (piece: Buffer) => pieces.push(piece));
        res.on('end', () => resolve(pieces));
      });
      req.end(chatBody({ stream: true }));
    });
    expect(Buffer.concat(chunks).toString()).toBe(frames.join('') + DONE_FRAME);
    expect(chunks.length).toBeLessThanOrEqual(4);
  });
});

describe('a second place', () => {
  it.each([10, 10_000])('gets the same request, made over for its engine (%i bytes)', async (bytes) => {
    await start({ upstreamModel: 'second-name' });
    const { startOf } = rig.scheduling;
    rig.scheduling.maxPlacements = 2;
    const nobody = new EnginePath({ origin: 'http://127.0.0.1:1', keepAliveMs: 1000, clock: new WallClock() });
    rig.scheduling.startOf = (stage) => {
      rig.scheduling.startOf = startOf;
      return {
        ...startOf(stage),
        dataPath: nobody,
        upstreamModel: 'x',
        priority: -999,
      };
    };
    const body = chatBody({ padding: 'y'.repeat(bytes), stream: true, kv_transfer_params: { a: 'bcdef' } });
    rig.script = ({ res }) => {
      beginStream(res);
      res.end(contentFrame('a', 'stop') + USAGE_FRAME + DONE_FRAME);
    };
    const answer = await postChat(rig, body);
    expect(await answer.text()).toBe(contentFrame('a', 'stop') + DONE_FRAME);
    expect(JSON.parse(rig.received[0]!.body)).toEqual({
      ...(JSON.parse(body) as object),
      model: 'second-name',
      priority: 7,
      kv_transfer_params: null,
      stream_options: { include_usage: true },
    });
    expect(rig.received).toHaveLength(1);
    nobody.close();
  });

  it('gets a request that has become shorter than the client wrote it', async () => {
    await start({ upstreamModel: 'x' });
    const { startOf } = rig.scheduling;
    rig.scheduling.maxPlacements = 2;
    const nobody = new EnginePath({ origin: 'http://127.0.0.1:1', keepAliveMs: 1000, clock: new WallClock() });
    rig.scheduling.startOf = (stage) => {
      rig.scheduling.startOf = startOf;
      return { ...startOf(stage), dataPath: nobody, priority: -1e15 };
    };
    const body = chatBody({ model: 'org/tiny-1', priority: 123456 });
    await (await postChat(rig, body)).text();
    expect(JSON.parse(rig.received[0]!.body)).toMatchObject({
      ...(JSON.parse(body) as object),
      model: 'x',
      priority: 7,
    });
    nobody.close();
  });
});

describe('keys', () => {
  const keys = [
    { key: 'sk-canary-interactive', tenant: 'a' },
    { key: 'sk-canary-batch-only', tenant: 'b', maxClass: 'batch', workflow: 'nightly' },
  ];

  it('are asked for, give the tenant and cap the class', async () => {
    await start({ config: { keys } });
    expect((await postChat(rig, chatBody())).status).toBe(401);
    expect((await postChat(rig, chatBody(), { authorization: 'Bearer wrong' })).status).toBe(401);
    expect((await fetch(`${rig.url}/v1/models`)).status).toBe(401);
    expect((await fetch(`${rig.url}/health`)).status).toBe(200);
    const answer = await postChat(rig, chatBody(), {
      'x-api-key': 'sk-canary-batch-only',
      'x-maestro-class': 'interactive',
      'x-maestro-tenant': 'a',
    });
    expect(answer.headers.get('x-maestro-class')).toBe('batch');
    expect(rig.scheduling.submitted[0]!.stage).toMatchObject({ tenant: 'b', workflowId: 'nightly', sloClass: 'batch' });
    const id = rig.scheduling.submitted[0]!.stage.stageId;
    const explain = (key: string) =>
      fetch(`${rig.url}/v1/maestro/requests/${id}`, { headers: { authorization: `Bearer ${key}` } });
    expect((await explain('sk-canary-batch-only')).status).toBe(200);
    expect((await explain('sk-canary-interactive')).status).toBe(404);
  });

  it('and prompts stay out of logs, answers and metrics, whatever goes wrong', async () => {
    const lines: string[] = [];
    await start({ config: { keys }, logLines: (line) => lines.push(line) });
    const headers = { authorization: 'Bearer sk-canary-interactive' };
    const messages = [{ role: 'user', content: 'canary-prompt' }];
    const answers: string[] = [];
    const post = async (body: string, given: Record<string, string> = headers) => {
      const answer = await postChat(rig, body, given);
      answers.push(JSON.stringify([...answer.headers]), await answer.text());
    };
    await post(chatBody({ messages }));
    await post(chatBody({ messages, model: 'x' }));
    await post(chatBody({ messages }).slice(0, -1));
    await post(chatBody({ messages }), { authorization: 'Bearer sk-canary-interactive-wrong' });
    rig.script = ({ res }) => res.destroy();
    await post(chatBody({ messages }));
    rig.script = ({ res }) => {
      res.writeHead(500);
      res.end('Traceback: canary-prompt');
    };
    await post(chatBody({ messages }));
    rig.scheduling.onSubmit = () => {
      throw new Error('bug with Bearer sk-canary-interactive');
    };
    rig.scheduling.submitted.length = 0;
    await post(chatBody({ messages }));
    rig.scheduling.submitted.length = 0;
    answers.push(await (await fetch(`${rig.url}/metrics`)).text());
    expect(lines.length).toBeGreaterThan(5);
    expect(rig.metrics.ledger().outcomes.internal).toBe(1);
    expect([...lines, ...answers].filter((text) => text.includes('canary'))).toEqual([]);
  });
});
