import { z } from 'zod';
import { bytes, duration, envName, identifier, positiveDuration, rename, secret } from './fields.js';

const key = z.strictObject({
  key: secret().exactOptional().describe('The key itself, at least 8 characters. Prefer `keyEnv` or `keyFile`.'),
  keyEnv: envName().exactOptional().describe('Environment variable that holds the key.'),
  keyFile: z
    .string()
    .min(1)
    .exactOptional()
    .describe('File that holds nothing but the key. Read again at `kill -HUP`, so that the key can be changed.'),
  tenant: identifier().describe('Tenant whose share of the fleet its requests use.'),
  maxClass: identifier()
    .exactOptional()
    .describe('Most urgent class it may ask for; requests for a more urgent one get this one.'),
  defaultClass: identifier().exactOptional().describe('Class of its requests that name none.'),
  workflow: identifier().exactOptional().describe('Workflow of its requests that name none.'),
  maxOpenRequests: z
    .int()
    .positive()
    .exactOptional()
    .describe('Requests that its tenant may have open at once, queued or running; more are refused with 429.'),
  requestsPerMinute: z
    .int()
    .positive()
    .exactOptional()
    .describe(
      'Requests of its tenant in a minute. So many may come at once, and come back evenly; more are refused with 429. Answers tell what is left (`x-ratelimit-remaining-requests` and its like).',
    ),
  tokensPerMinute: z
    .int()
    .positive()
    .exactOptional()
    .describe(
      'The same of tokens: those of prompts count when a request comes, those of answers when they have been written.',
    ),
  template: identifier().exactOptional().describe('Template of its workflows that name none.'),
});

const timeouts = z
  .strictObject({
    queue: positiveDuration()
      .prefault('30m')
      .describe('Longest wait in our queue before a request is turned away, of any class.'),
    firstToken: positiveDuration()
      .prefault('10m')
      .describe('Longest wait for the first token after the engine got the request.'),
    betweenTokens: positiveDuration().prefault('2m').describe('Longest silence inside a stream.'),
    total: positiveDuration().prefault('1h').describe('Longest life of a request.'),
    idleWrite: positiveDuration().prefault('1m').describe('How long a client may leave its answer unread.'),
  })
  .transform(
    rename({
      queue: 'queueMs',
      firstToken: 'firstTokenMs',
      betweenTokens: 'betweenTokensMs',
      total: 'totalMs',
      idleWrite: 'idleWriteMs',
    }),
  )
  .prefault({});

export const gatewaySchema = z
  .strictObject({
    keys: z.array(key).prefault([]).describe('API keys that are let in. Empty: any key is.'),
    insecure: z.boolean().default(false).describe('Whether to serve other machines without any key.'),
    tls: z
      .strictObject({
        cert: z.string().min(1).describe('Certificate of the front door, and those between it and its authority.'),
        key: z.string().min(1).describe('Its private key.'),
        clientCa: z
          .string()
          .min(1)
          .exactOptional()
          .describe(
            'Certificates that sign those of clients; then nobody is let in without one, probes and scrapes neither.',
          ),
      })
      .exactOptional()
      .describe(
        'HTTPS at the front door: paths of files in PEM form. Files that change are read again, and at `kill -HUP`. Absent: HTTP.',
      ),
    isolateTenants: z
      .boolean()
      .default(false)
      .describe(
        'Whether engines share what they have cached of prompts within one tenant only, by a `cache_salt` in every request. Otherwise the time to the first token can tell a tenant what others have asked; with it, a prompt that all tenants begin with is computed for each.',
      ),
    bodyLimit: bytes().prefault('32MiB').describe('Largest request body.'),
    headerLimit: bytes().prefault('16KiB').describe('Largest request header.'),
    timeouts: timeouts.describe('How long things may take.'),
    heartbeat: duration()
      .prefault('15s')
      .describe(
        'A streamed request that has waited so long for its first event, in the queue, for a model to wake or for its engine, gets its headers and an SSE comment, and another after each such time; what fails then is told by an event. 0: never.',
      ),
    heartbeatWhole: duration()
      .prefault('0s')
      .describe(
        'The same for a request whose answer comes whole: the interim response `102 Processing`, which leaves the status open. Only where all clients and proxies know interim responses; some take it for the answer. 0: never.',
      ),
    maxOpenRequests: z.int().positive().default(10_000).describe('Requests held open at once, queued or running.'),
    maxOpenBytes: bytes().prefault('1GiB').describe('Size of their bodies together.'),
    maxConnectionsPerAddress: z
      .int()
      .positive()
      .exactOptional()
      .describe(
        'Connections that one address may have open. Absent: any number, as behind a load balancer, whose clients all have its address.',
      ),
  })
  .refine(({ bodyLimit, maxOpenBytes }) => maxOpenBytes >= bodyLimit, {
    path: ['maxOpenBytes'],
    error: 'must be at least gateway.bodyLimit, or a body of that size would be turned away for ever as one too many',
  })
  .transform(
    rename({
      bodyLimit: 'bodyLimitBytes',
      headerLimit: 'headerLimitBytes',
      heartbeat: 'heartbeatMs',
      heartbeatWhole: 'heartbeatWholeMs',
    }),
  )
  .prefault({});
