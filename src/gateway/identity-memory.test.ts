import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { inboundRequestId } from './headers.js';
import { identityValue } from './identity-values.js';
import { readPlainHead } from './request-head.js';
import { matchRoute } from './routes.js';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const HEADS = 64;
const HEAD_BYTES = 256 * 1024;

/** What is read of a head that is longer than any may be, so that it stands out of all else in memory. */
const NAMES: readonly [string, (index: number) => string | undefined][] = [
  ['a header', (index) => identityValue(headOf(index).headers['x-maestro-workflow'])],
  ['the id of the request', (index) => inboundRequestId(headOf(index).headers)],
  [
    'the path',
    (index) => {
      const match = matchRoute('POST', headOf(index).url);
      return match.kind === 'route' ? match.identity.workflow : undefined;
    },
  ],
];

function headOf(index: number) {
  const name = `a-run-with-a-name-${index}`;
  const head = `POST /w/${name}/v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX-Maestro-Workflow: ${name}\r\nX-Request-Id: ${name}\r\nX-Filler: `;
  return readPlainHead(Buffer.alloc(HEAD_BYTES, head.padEnd(HEAD_BYTES, 'f')).toString('latin1'))!;
}

it.each(NAMES)('a name from %s holds on to nothing else of its request', (_from, nameOf) => {
  collect();
  const before = process.memoryUsage().heapUsed;
  const kept = Array.from({ length: HEADS }, (_, index) => nameOf(index));
  collect();
  const bytes = process.memoryUsage().heapUsed - before;
  expect(new Set(kept).size).toBe(HEADS);
  expect(bytes).toBeLessThan((HEADS * HEAD_BYTES) / 4);
});
