import type { EmulatorContext } from './context.js';
import { errorFrame } from './frames.js';
import type { GenerationRequest } from './generation-request.js';
import type { Call } from './http.js';
import { badValue, HttpError } from './http-error.js';

/** What the Messages API says of the error in the stream that it translates, which it does not know. */
const STUMBLED = ['model', 'choices']
  .map(
    (field) =>
      `${field}\n  Field required [type=missing, input_value={'error': {'message': 'da...am': None, 'code': 400}}, input_type=dict]\n` +
      '    For further information visit https://errors.pydantic.dev/2.14/v/missing',
  )
  .join('\n');

/** The data-parallel rank that a header asks for, as Python reads an integer; the Responses API does not look at it. */
export function rankOf({ request }: Call, { kind }: GenerationRequest): number | undefined {
  const header = request.headers['x-data-parallel-rank'];
  if (kind === 'responses' || typeof header !== 'string') return undefined;
  return /^\s*[+-]?\d+(_\d+)*\s*$/.test(header) ? Number(header.replaceAll('_', '')) : undefined;
}

/** Refuses a rank that there is not; true where that ends a stream, which has begun by then. */
export function refusesRank(
  { model: { dataParallel: ranks } }: EmulatorContext,
  { reply }: Call,
  { kind, rank, stream }: GenerationRequest,
): boolean {
  if (rank === undefined || (rank >= 0 && rank < ranks)) return false;
  const message = `data_parallel_rank ${rank} is out of range [0, ${ranks}).`;
  if (!stream) {
    if (kind !== 'messages') throw badValue(message);
    throw new HttpError(400, { type: 'error', error: { type: 'BadRequestError', message } });
  }
  reply.startStream();
  if (kind === 'messages') {
    const error = {
      type: 'internal_error',
      message: `2 validation errors for ChatCompletionStreamResponse\n${STUMBLED}`,
    };
    reply.write(`event: error\ndata: ${JSON.stringify({ type: 'error', error })}\n\n`);
  } else reply.write(`${errorFrame(message, 'BadRequestError', 400)}data: [DONE]\n\n`);
  reply.endStream();
  return true;
}
