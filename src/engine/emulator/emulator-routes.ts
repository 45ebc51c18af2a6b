import { z } from 'zod';
import { parseJson } from '../../model/json.js';
import type { EmulatorContext } from './context.js';
import type { Handler, Routes } from './http.js';

const FAULT = z.discriminatedUnion('kind', [
  /** The worker hangs: streams fall silent, /health stays 200. Lifted by `clear`. */
  z.strictObject({ kind: z.literal('stall') }),
  /** The engine dies when some request has made `afterTokens` tokens; with 0, at the next token of any. */
  z.strictObject({
    kind: z.literal('die'),
    how: z.enum(['cut', 'error']).default('error'),
    afterTokens: z.int().nonnegative().default(0),
  }),
  /** Only that request fails; the engine goes on. */
  z.strictObject({
    kind: z.literal('break'),
    how: z.enum(['cut', 'error']).default('error'),
    afterTokens: z.int().nonnegative().default(0),
  }),
  z.strictObject({ kind: z.literal('clear') }),
]);

/** Endpoints that no vLLM has: for tests and acceptance runs. */
export function emulatorRoutes(context: EmulatorContext): Routes {
  const { loop, sleep, ledger, faults, device, model } = context;
  const ledgerEndpoint: Handler = ({ reply }) =>
    reply.json(200, JSON.stringify({ totals: ledger.totals, open: context.open.size, requests: ledger.list() }));
  const stateEndpoint: Handler = async ({ reply }) => {
    const body = {
      engine: loop.stats(),
      sleepingTags: sleep.sleepingTags,
      paused: sleep.isPaused,
      garbage: sleep.garbage,
      model: {
        name: model.llm.name,
        gpu: model.gpu.name,
        tp: model.tp,
        dataParallel: model.dataParallel,
        weightBytes: model.weightBytes,
        kvPoolBytes: model.kvPoolBytes,
        kvPoolTokens: model.kvPoolTokens,
        maxModelLen: model.maxModelLen,
        residueBytes: model.residueBytes,
      },
      device: await device.snapshot(),
    };
    reply.json(200, JSON.stringify(body));
  };
  const faultEndpoint: Handler = async ({ reply, body }) => {
    const parsed = FAULT.safeParse(parseJson((await body()).toString('utf8')));
    if (!parsed.success) {
      reply.json(400, JSON.stringify({ error: z.prettifyError(parsed.error) }));
      return;
    }
    const fault = parsed.data;
    if (fault.kind === 'stall') loop.stall();
    else if (fault.kind === 'clear') {
      faults.arm(undefined);
      loop.unstall();
    } else {
      const scope = fault.kind === 'die' ? 'process' : 'stream';
      faults.arm({ scope, how: fault.how, afterTokens: fault.afterTokens });
    }
    reply.json(200, '{}');
  };
  return new Map([
    ['/_emulator/ledger', { GET: ledgerEndpoint }],
    ['/_emulator/state', { GET: stateEndpoint }],
    ['/_emulator/fault', { POST: faultEndpoint }],
  ]);
}
