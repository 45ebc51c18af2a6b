import { expect, it } from 'vitest';
import type { DataCall, StageStart } from '../bus/contract.js';
import { UpstreamCall, type UpstreamEnd } from './upstream-call.js';

const held: DataCall = { abort() {}, pause() {}, resume() {} };

/** What a call sends and how it ends when every connection that it gets breaks like this. */
function breaking(cause: Error, unanswered: boolean): { readonly sent: number; readonly ends: readonly UpstreamEnd[] } {
  let sent = 0;
  const ends: UpstreamEnd[] = [];
  const start: Pick<StageStart, 'dataPath'> = {
    dataPath: {
      dispatch(_request, handler) {
        sent += 1;
        handler.onStart(held);
        handler.onError(cause, unanswered);
      },
    },
  };
  const sink = { onActivity() {}, onContent() {}, onUpstreamEnd: (end: UpstreamEnd) => ends.push(end), refuse() {} };
  const call = new UpstreamCall(sink, true, 1_000_000, 'openai');
  call.send(start as StageStart, '/v1/completions', [], Buffer.from('{}'));
  return { sent, ends };
}

it.each([
  ['an idle connection that has carried answers before', true, 4],
  ['another', false, 1],
])('after a break of %s', (_name, unanswered, sends) => {
  const cause = new Error('reset');
  const { sent, ends } = breaking(cause, unanswered);
  expect(sent).toBe(sends);
  expect(ends).toMatchObject([{ kind: 'broken', reason: 'connection-lost', cause }]);
});
