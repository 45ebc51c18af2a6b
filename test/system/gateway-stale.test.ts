/** Kept-alive connections that the engine closes just as a request goes out on them. */
import type { Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { chatBody, postChat, type Rig, sendCompletion, startRig } from './gateway-fixture.js';

let rig: Rig;
afterEach(() => rig.close());

/** Answers the first request of each connection, and cuts the connection at the second. */
function closeAtSecond(): void {
  const used = new Set<Socket>();
  rig.script = ({ req, res }) => {
    if (used.has(req.socket)) req.socket.destroy();
    else sendCompletion(res);
    used.add(req.socket);
  };
}

describe('an engine that closes idle connections', () => {
  it('gets the request again on another one, and the client notices nothing', async () => {
    rig = await startRig();
    closeAtSecond();
    for (let round = 0; round < 4; round++) {
      const answer = await postChat(rig, chatBody());
      expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('Hello')]);
    }
    expect(rig.scheduling.submitted.map(({ outcomes }) => outcomes.map(({ kind }) => kind))).toEqual(
      Array.from({ length: 4 }, () => ['completed']),
    );
    expect(rig.scheduling.submitted.map(({ placements }) => placements)).toEqual([1, 1, 1, 1]);
  });

  it('does not get again what a fresh connection broke under', async () => {
    rig = await startRig();
    rig.script = ({ req }) => req.socket.destroy();
    expect((await postChat(rig, chatBody())).status).toBe(502);
    expect(rig.received).toHaveLength(1);
  });
});
