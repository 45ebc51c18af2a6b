/** What a hostile or broken client can put on the wire. Whatever it is, the engine never hears of it, and the next client is served. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chatBody, postChat, type Rig, rawChat, startRig } from './gateway-fixture.js';

let rig: Rig;
beforeEach(async () => {
  rig = await startRig({
    config: { timeouts: { requestHeadersMs: 400, requestBodyMs: 800 }, bodyLimitBytes: 64 * 1024 },
  });
});
afterEach(async () => {
  expect((await postChat(rig, chatBody())).status).toBe(200);
  expect(rig.received).toHaveLength(1);
  await rig.close();
});

/** Everything that comes until the gateway closes the connection. */
function answerTo(text: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = rig.rawRequest(text);
    socket.on('data', (piece) => {
      answer += String(piece);
    });
    socket.on('close', () => resolve(answer));
  });
}

const HEAD = 'POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n';
const BODY = chatBody();
const SMUGGLED = 'GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n';

describe('one request that two parsers would read differently is refused, and the connection closed', () => {
  const CASES: [string, string][] = [
    ['length and chunks', `${HEAD}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`],
    ['two lengths', `${HEAD}Content-Length: ${BODY.length}\r\nContent-Length: 0\r\n\r\n${BODY}${SMUGGLED}`],
    ['a list of lengths', `${HEAD}Content-Length: ${BODY.length}, 0\r\n\r\n${BODY}${SMUGGLED}`],
    ['a length with a sign', `${HEAD}Content-Length: +${BODY.length}\r\n\r\n${BODY}`],
    ['a space before the colon', `${HEAD}Content-Length : ${BODY.length}\r\n\r\n${BODY}${SMUGGLED}`],
    ['a folded header', `${HEAD}X-A: b\r\n c\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n`],
    ['an unknown encoding', `${HEAD}Transfer-Encoding: cow\r\n\r\n${BODY}`],
    ['chunked, but not last', `${HEAD}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${SMUGGLED}`],
    ['a chunk size that is none', `${HEAD}Transfer-Encoding: chunked\r\n\r\nZZ\r\n${BODY}\r\n0\r\n\r\n`],
    ['a chunk longer than it says', `${HEAD}Transfer-Encoding: chunked\r\n\r\n1\r\n${BODY}\r\n0\r\n\r\n${SMUGGLED}`],
    ['a bare carriage return in a header', `${HEAD}X-A: b\rX-B: c\r\nContent-Length: 0\r\n\r\n`],
    ['a bare line feed', `${HEAD}X-A: b\nContent-Length: 0\r\n\r\n`],
    ['a null byte in a header', `${HEAD}X-A: b\0c\r\nContent-Length: 0\r\n\r\n`],
    ['no host', `POST /v1/chat/completions HTTP/1.1\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`],
    ['two hosts', `${HEAD}hOsT: y\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}${SMUGGLED}`],
    ...['gzip, chunked', 'identity, chunked', 'foo, chunked', 'chunked, chunked'].map((coding): [string, string] => [
      `the coding ${coding}`,
      `${HEAD}Transfer-Encoding: ${coding}\r\n\r\n${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n\r\n${SMUGGLED}`,
    ]),
    ['no HTTP at all', 'HELLO\r\n\r\n'],
  ];
  it.each(CASES)('%s', async (_name, text) => {
    const answer = await answerTo(text);
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).not.toContain('"object":"list"');
    expect(answer.match(/HTTP\/1\.1 /g)).toHaveLength(1);
  });
});

describe('a client that is slow on purpose is cut', () => {
  it('with its headers', async () => {
    const answer = await answerTo(`${HEAD}X-Slow: `);
    expect(answer).toMatch(/^(HTTP\/1\.1 408 |$)/);
  });

  it('with its body', async () => {
    const answer = await answerTo(`${HEAD}Content-Length: ${BODY.length}\r\n\r\n${BODY.slice(0, 10)}`);
    expect(answer).toMatch(/^(HTTP\/1\.1 408 |$)/);
  });

  it.each([
    ['in its headers', `${HEAD}X-Slow: `],
    ['in its body', `${HEAD}Content-Length: ${BODY.length}\r\n\r\n{`],
  ])('%s, though it does not close its side of the connection', async (_where, text) => {
    const socket = connect({ port: Number(new URL(rig.url).port), host: '127.0.0.1', allowHalfOpen: true });
    socket.on('error', () => {}).resume();
    socket.write(text);
    await once(socket, 'end');
    // Only a connection that is gone refuses further bytes.
    const trickle = setInterval(() => socket.write('x'), 50);
    await new Promise((resolve) => socket.once('close', resolve));
    clearInterval(trickle);
    expect(rig.gateway.openRequests).toBe(0);
  });
});

describe('a bomb does not go off', () => {
  const deep = (depth: number) => `{"model":"tiny","messages":${'['.repeat(depth)}${']'.repeat(depth)}}`;
  const CASES: [string, () => Promise<Response>, number][] = [
    ['brackets without end', () => postChat(rig, deep(5_000)), 400],
    ['a body beyond the limit', () => postChat(rig, chatBody({ user: 'x'.repeat(70_000) })), 413],
    [
      'a compressed body, whose size nobody knows before it is unpacked',
      () => postChat(rig, BODY, { 'content-encoding': 'gzip' }),
      415,
    ],
    ['a field given twice', () => postChat(rig, '{"model":"tiny","model":"other","messages":[]}'), 400],
    ['a form', () => postChat(rig, 'a=b', { 'content-type': 'application/x-www-form-urlencoded' }), 415],
    ['half of a JSON text', () => postChat(rig, BODY.slice(0, -2)), 400],
    ['a choice count of millions', () => postChat(rig, chatBody({ n: 5_000_000 })), 400],
  ];
  it.each(CASES)('%s', async (_name, send, status) => {
    const answer = await send();
    expect(answer.status).toBe(status);
    const { error } = (await answer.json()) as { error: { message: string } };
    expect(error.message.length).toBeGreaterThan(10);
  });

  it('a thousand headers, or one of 20 kB', async () => {
    const many = Array.from({ length: 1_000 }, (_, index) => `X-H${index}: ${'v'.repeat(20)}\r\n`).join('');
    expect(await answerTo(`${HEAD}${many}Content-Length: 0\r\n\r\n`)).toMatch(/^HTTP\/1\.1 431 /);
    expect(await answerTo(`${HEAD}X-Big: ${'v'.repeat(20_000)}\r\n\r\n`)).toMatch(/^HTTP\/1\.1 431 /);
  });
});

describe('shortage of our own', () => {
  it('no free socket is told as such, and is not held against the engine', async () => {
    const { startOf } = rig.scheduling;
    const shortage = Object.assign(new Error('connect EMFILE'), { code: 'EMFILE' });
    rig.scheduling.maxPlacements = 3;
    rig.scheduling.startOf = (stage) => ({
      ...startOf(stage),
      dataPath: { dispatch: (_request, handler) => handler.onError(shortage, false) },
    });
    const answer = await postChat(rig, chatBody());
    rig.scheduling.startOf = startOf;
    expect(answer.status).toBe(429);
    expect(answer.headers.get('x-maestro-reason')).toBe('no-sockets');
    expect(rig.scheduling.submitted[0]).toMatchObject({
      placements: 1,
      outcomes: [{ kind: 'rejected', reason: 'no-sockets' }],
    });
  });
});

it('requests that follow each other on one connection each get their answer', async () => {
  const twice = rawChat(BODY).replace('Host: x', 'Host: x\r\nConnection: close');
  const answer = await answerTo(`${'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(2)}${twice}`);
  expect(answer.match(/HTTP\/1\.1 200 /g)).toHaveLength(3);
  rig.received.pop();
});

it('a request that is refused once it has been read leaves its connection open', async () => {
  const refused = ['{"model":', chatBody({ model: 'none' }), chatBody({ n: 0 })].map(rawChat).join('');
  const answer = await answerTo(refused + rawChat(BODY).replace('Host: x', 'Host: x\r\nConnection: close'));
  expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual([400, 404, 400, 200].map((status) => `HTTP/1.1 ${status}`));
  rig.received.pop();
});
