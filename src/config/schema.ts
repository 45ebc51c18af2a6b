import { z } from 'zod';
import { ORDERING_POLICY_NAMES } from '../global/order/registry.js';
import { RETENTION_RULE_NAMES } from '../global/retention/rules.js';
import { EVICTION_POLICY_NAMES } from '../node/evict.js';
import { bytes, duration, identifier, modelName, positiveDuration, rename } from './fields.js';
import { fleetSchema, gpuSchema, modelSchema } from './schema-fleet.js';
import { gatewaySchema } from './schema-gateway.js';
import { parametersSchema } from './schema-parameters.js';

const listen = z
  .strictObject({
    host: z.string().min(1).default('127.0.0.1').describe('Address to listen on.'),
    port: z.int().min(0).max(65_535).default(8080).describe('Port to listen on; 0 picks a free one.'),
  })
  .prefault({});

const sloClass = z
  .strictObject({
    name: identifier().describe('Name of the class.'),
    kind: z
      .enum(['interactive', 'batch'])
      .describe('`interactive` goes first; `batch` has a loose deadline and never starves.'),
    deadline: positiveDuration().describe('Deadline of a workflow after its arrival, when its requests name none.'),
    ttft: positiveDuration().exactOptional().describe('Target for the time to the first token of each stage.'),
    tpot: positiveDuration()
      .exactOptional()
      .describe('Target for the time per output token; sizes the batches of an engine.'),
    weight: z.number().positive().default(1).describe('Value of a workflow of this class relative to others.'),
  })
  .transform(rename({ deadline: 'deadlineMs', ttft: 'ttftMs', tpot: 'tpotMs' }));

/**
 * A person waits for an interactive workflow: MLPerf's server limits for an 8B model (2 s to the first token, 100 ms a token)
 * and one minute for the whole run. Nobody waits for a batch workflow: half an hour, and throughput counts.
 */
const DEFAULT_CLASSES: z.input<typeof sloClass>[] = [
  { name: 'interactive', kind: 'interactive', deadline: '60s', ttft: '2s', tpot: '100ms', weight: 1 },
  { name: 'batch', kind: 'batch', deadline: '30m', weight: 0.2 },
];

const template = z
  .strictObject({
    class: identifier().exactOptional().describe('Class of its workflows, when the request names none.'),
    deadline: positiveDuration().exactOptional().describe('Deadline of its workflows. Default: that of the class.'),
  })
  .transform(rename({ deadline: 'deadlineMs' }));

const queue = z
  .strictObject({
    maxCount: z.int().positive().default(10_000).describe('Stages that may wait.'),
    maxBytes: bytes().prefault('256MiB').describe('Memory that waiting requests may hold.'),
    maxCountPerTenant: z.int().positive().exactOptional().describe('Stages of one tenant that may wait.'),
  })
  .prefault({});

const portfolio = z
  .strictObject({
    cpuShare: z
      .number()
      .min(0)
      .max(1)
      .default(0.05)
      .describe('Share of one core that replays of the last minutes may take; 0 keeps the ordering as it begins.'),
    interval: duration().prefault('45s').describe('Replays are at least so far apart.'),
  })
  .transform(rename({ interval: 'intervalMs' }))
  .prefault({});

const scheduling = z
  .strictObject({
    policy: z.enum(ORDERING_POLICY_NAMES).default('maestro').describe('Who goes next.'),
    lookAhead: z
      .int()
      .nonnegative()
      .default(4)
      .describe('Stages that wait inside an engine, or each of its ranks, beyond its seats, to hide the round trip.'),
    queue: queue.describe('Limits of the stages that wait in our queue.'),
    portfolio: portfolio.describe('How the policy `maestro` tunes itself.'),
    starvationBound: duration()
      .prefault('10m')
      .describe(
        'After this wait a stage of a `batch` class is overdue. While a model has overdue stages, one in twenty of its dispatches goes to the longest overdue one, whatever the policy says; and, within the same share, nothing begins until one that waits for KV memory fits. Who is late already waits for that as long as batch.',
      ),
    interactiveStarvationBound: duration().prefault('1m').describe('The same for stages of `interactive` classes.'),
    minResidency: duration()
      .prefault('5m')
      .describe(
        'How long a model stays awake before it may be emptied for another while it is busy; an idle one makes room at once.',
      ),
    weights: z
      .enum(EVICTION_POLICY_NAMES)
      .default('lru')
      .describe(
        'Which idle model gives up its GPU memory first: `lru` the longest unused, `lfu` the least used, `value` by chance of use × reload ÷ bytes, and not before the stages that are held have waited for a share of the harm.',
      ),
    retention: z
      .enum(RETENTION_RULE_NAMES)
      .default('rent')
      .describe(
        'Which contexts keep their KV memory while their agents are in a tool call: `rent` while the memory costs less than computing them again, `continuum` and `progress-ttl` as those systems do, `none`.',
      ),
    prefetch: z
      .boolean()
      .default(true)
      .describe('Wake a model that the running workflows need next, into memory that nobody uses.'),
    firstSleep: z
      .boolean()
      .default(true)
      .describe(
        'Put engines to sleep once after their start, before their first request, where a GPU has more than fits it: the first sleep pins host memory and takes several times as long as later ones. One that could not drops its weights where a stage waits for its room, if reading them again is quicker.',
      ),
    kvOverflowTarget: z
      .number()
      .gt(0)
      .lt(1)
      .default(0.05)
      .describe('Chance in (0, 1) that a stage outgrows the KV memory promised to it.'),
  })
  .transform(
    rename({
      starvationBound: 'starvationBoundMs',
      interactiveStarvationBound: 'interactiveStarvationBoundMs',
      minResidency: 'minResidencyMs',
    }),
  )
  .prefault({});

const prediction = z
  .strictObject({
    model: z
      .string()
      .min(1)
      .default('default')
      .describe(
        'Model directory of `maestro train`, or an ONNX file; `default`: the one that ships; `none`: only what is learned online.',
      ),
    stateFile: z
      .string()
      .min(1)
      .exactOptional()
      .describe('File that keeps what was learned over a restart. Without it a restart begins anew.'),
    readText: z
      .boolean()
      .default(false)
      .describe(
        'Hash the words of the last message for the predictor. It pays where a role is asked very different things; a model must have been trained with them, by `retrainEvery` for example.',
      ),
    embedder: z
      .string()
      .min(1)
      .exactOptional()
      .describe(
        'Folder of a sentence embedder (`model.onnx` and `tokenizer.json`, as sentence-transformers exports them), which is asked what last messages are about, on a thread of its own. Absent: none.',
      ),
    embedderWait: duration()
      .prefault('20ms')
      .describe(
        'What a request waits for the embedder at most; then it goes on without. An embedder that is late 20 times in a row is asked no more.',
      ),
    retrainEvery: z
      .int()
      .min(500)
      .exactOptional()
      .describe(
        'Completed calls after which a model is trained on the last 20,000 on a thread of its own, and serves where it proves better. Absent: never.',
      ),
  })
  .transform(rename({ embedderWait: 'embedderWaitMs' }))
  .prefault({});

const observe = z
  .strictObject({
    logLevel: z
      .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
      .default('info')
      .describe('Least severe level that is logged.'),
    decisionLog: z
      .string()
      .min(1)
      .exactOptional()
      .describe(
        'File that gets one JSON line for each decision; `endedAt` is the time of day, other times are milliseconds since the start.',
      ),
  })
  .prefault({});

/** The whole config: one YAML file, every field with its default. */
export const configSchema = z.strictObject({
  listen: listen.describe('Where the front door listens.'),
  fleet: fleetSchema.describe('The machines and engines behind it.'),
  models: z.array(modelSchema).prefault([]).describe('Model architectures that the catalogue lacks.'),
  gpus: z.array(gpuSchema).prefault([]).describe('GPU types that the catalogue lacks.'),
  aliases: z
    .record(modelName(), modelName().describe('The served model that the name stands for.'))
    .default({})
    .describe('Further names for served models.'),
  parameters: parametersSchema
    .prefault({})
    .describe(
      'What requests may ask of a served model, by its name; `*` stands for every model. For an adapter those of its model hold too, where its own say nothing of a field.',
    ),
  classes: z
    .array(sloClass)
    .min(1)
    .prefault(DEFAULT_CLASSES)
    .describe('SLO classes. A list given here replaces the default one.'),
  defaultClass: identifier().default('interactive').describe('Class of requests that name none.'),
  templates: z
    .record(identifier(), template.describe('One kind of workflow.'))
    .prefault({})
    .describe('What is known of a kind of workflow, by its name.'),
  scheduling: scheduling.describe('The global order and the memory rules.'),
  prediction: prediction.describe('What foretells the length of answers.'),
  gateway: gatewaySchema.describe('Who is let in, and the limits.'),
  observe: observe.describe('Logs.'),
});

/** A config as the house uses it: defaults filled in, sizes in bytes, durations in milliseconds. */
export type MaestroConfig = z.output<typeof configSchema>;
export type NodeConfig = MaestroConfig['fleet']['nodes'][number];
export type EngineConfig = NodeConfig['engines'][number];

/** JSON Schema (draft 2020-12) of the file, for editors and documentation. */
export function configJsonSchema(): Record<string, unknown> {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Maestro configuration',
    ...z.toJSONSchema(configSchema, { io: 'input' }),
  };
}
