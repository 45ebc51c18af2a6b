import { describe, expect, it } from 'vitest';
import { completed, FIRST_CONTEXT, makeStage } from '../../../test/stage-fixture.js';
import { CallRecorder, CallWindow } from './recorded-calls.js';

const stage = (id: string) => makeStage({ stageId: id, prefixHashes: ['block'] as never });

describe('recorded calls', () => {
  it('are those that began, ended well and told their tokens', () => {
    const recorder = new CallRecorder();
    recorder.begin(stage('a'), FIRST_CONTEXT);
    recorder.begin(stage('silent'), FIRST_CONTEXT);
    expect(recorder.end(stage('silent'), { ...completed(5), outputTokens: undefined })).toBeUndefined();
    expect(recorder.end(stage('never began'), completed(5))).toBeUndefined();
    expect(recorder.end(stage('a'), completed(5))).toMatchObject({
      beginOrder: 0,
      endOrder: 2,
      stage: { prefixHashes: [] },
    });
    expect(recorder.end(stage('a'), completed(5))).toBeUndefined();
  });

  it('become a history of the last of them, in the order of what happened', () => {
    const recorder = new CallRecorder();
    const window = new CallWindow(3);
    for (const id of ['a', 'b', 'c', 'd']) recorder.begin(stage(id), FIRST_CONTEXT);
    for (const id of ['b', 'a', 'd', 'c']) window.add(recorder.end(stage(id), completed(5))!);
    const { calls, events } = window.history();
    expect(calls.map((call) => call.stage.stageId)).toEqual(['a', 'c', 'd']);
    expect(events).toEqual([
      { kind: 'begin', call: 0 },
      { kind: 'begin', call: 1 },
      { kind: 'begin', call: 2 },
      { kind: 'end', call: 0 },
      { kind: 'end', call: 2 },
      { kind: 'end', call: 1 },
    ]);
  });

  it('tell of workflows that have been quiet for long that they are over', () => {
    const recorder = new CallRecorder();
    const window = new CallWindow(100);
    for (let call = 0; call < 20; call++) {
      const own = makeStage({ stageId: `s${call}`, workflowId: call < 10 ? 'before' : 'now', prefixHashes: [] });
      recorder.begin(own, FIRST_CONTEXT);
      window.add(recorder.end(own, completed(5))!);
    }
    const { events } = window.history();
    expect(events.filter(({ kind }) => kind === 'workflowEnded')).toEqual([
      { kind: 'workflowEnded', workflowId: 'before' },
    ]);
    expect(events[20]).toMatchObject({ kind: 'workflowEnded' });
  });
});
