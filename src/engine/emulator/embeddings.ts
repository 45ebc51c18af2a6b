import { randomBytes } from 'node:crypto';
import type { EmulatorContext } from './context.js';
import type { Call } from './http.js';
import { jsonBody } from './json-body.js';
import { judgeModel, throwIssues } from './judge.js';
import { readBody } from './request.js';
import { tokenize } from './tokens.js';

/** Vectors that depend on the text alone; the time they take is that of their prefill. */
export async function embeddingsEndpoint(context: EmulatorContext, call: Call): Promise<void> {
  const { model, loop } = context;
  const fields = readBody(await jsonBody(call));
  const named = fields.string('model');
  const dimensions = fields.int('dimensions') ?? Math.min(1024, model.llm.hiddenSize);
  const base64 = fields.raw('encoding_format') === 'base64';
  throwIssues(fields);
  const name = judgeModel(named, model);
  const input = fields.raw('input');
  const inputs: unknown[] = Array.isArray(input) && typeof input[0] !== 'number' ? input : [input];
  const ids = inputs.map((each) =>
    Array.isArray(each) ? Uint32Array.from(each as number[]) : tokenize(String(each ?? '')),
  );
  await Promise.all(
    ids.map(
      (each) =>
        new Promise<void>((resolve, reject) => {
          const sequence = {
            engineId: `embd-${randomBytes(8).toString('hex')}`,
            externalId: '',
            promptTokens: Math.max(1, Math.min(each.length, model.maxModelLen - 1)),
            outputTokens: 1,
            maxTokens: 1,
            priority: 0,
            blockHashes: [],
            salt: undefined,
            flows: false,
            arrivalMs: loop.nowMs(),
            tokens: 0,
            cachedTokens: 0,
            queueMs: 0,
            firstTokenMs: undefined,
            endMs: undefined,
            listener: {
              queued: () => undefined,
              progressed: () => undefined,
              ended: () => resolve(),
              failed: () => reject(new Error('the engine died')),
            },
          };
          call.reply.onAbandoned(() => loop.withdraw(sequence));
          loop.submit(sequence);
        }),
    ),
  );
  const promptTokens = ids.reduce((sum, each) => sum + each.length, 0);
  const body = {
    id: `embd-${randomBytes(8).toString('hex')}`,
    object: 'list',
    created: Math.floor(Date.now() / 1000),
    model: name,
    data: ids.map((each, index) => ({ index, object: 'embedding', embedding: embed(each, dimensions, base64) })),
    usage: {
      prompt_tokens: promptTokens,
      total_tokens: promptTokens,
      completion_tokens: 0,
      prompt_tokens_details: null,
    },
  };
  call.reply.json(200, JSON.stringify(body));
}

function embed(ids: Uint32Array, dimensions: number, base64: boolean): number[] | string {
  let state = ids.reduce((hash, id) => Math.imul(hash ^ id, 0x01000193), 0x811c9dc5);
  const vector = Float32Array.from({ length: dimensions }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2147483648;
  });
  const norm = Math.hypot(...vector);
  const unit = vector.map((value) => value / norm);
  return base64 ? Buffer.from(unit.buffer).toString('base64') : [...unit];
}
