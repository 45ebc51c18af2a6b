import { type Dispatcher, errors } from 'undici';
import { expect, it } from 'vitest';
import type { StageStart } from '../bus/contract.js';
import { UpstreamCall, type UpstreamEnd } from './upstream-call.js';

const controller = {} as Dispatcher.DispatchController;

/** What a call sends and how it ends when every connection that it gets breaks like this. */
function breaking(cause: Error): { readonly sent: number; readonly ends: readonly UpstreamEnd[] } {
  let sent = 0;
  const ends: UpstreamEnd[] = [];
  const dispatcher = {
    dispatch(_options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler) {
      sent += 1;
      handler.onRequestStart?.(controller, undefined);
      handler.onResponseError?.(controller, cause);
      return true;
    },
  } as unknown as Dispatcher;
  const sink = { onActivity() {}, onContent() {}, onUpstreamEnd: (end: UpstreamEnd) => ends.push(end) };
  const call = new UpstreamCall(sink, true, 1_000_000, 'openai');
  call.send({ dispatcher, origin: 'http://engine' } as StageStart, '/v1/completions', [], Buffer.from('{}'));
  return { sent, ends };
}

const closed = (bytesRead: number) =>
  new errors.SocketError('other side closed', { bytesRead } as ConstructorParameters<typeof errors.SocketError>[1]);

it.each([
  ['a connection that has carried answers before', closed(500), 4],
  ['a fresh connection', closed(0), 1],
  ['another error', new Error('reset'), 1],
])('after a break of %s', (_name, cause, sends) => {
  const { sent, ends } = breaking(cause);
  expect(sent).toBe(sends);
  expect(ends).toMatchObject([{ kind: 'broken', reason: 'connection-lost', cause }]);
});
