import { z } from 'zod';
import { ENGINE_URL_HINT, parseEngineUrl } from '../model/engine-address.js';
import { bytes, envName, flops, identifier, modelName, rate, rename } from './fields.js';

const count = () => z.int().positive();

/** How Maestro itself starts a vLLM server, with the flags that docs/operations.md gives reasons for. */
const launch = z
  .strictObject({
    program: z
      .union([
        z
          .string()
          .min(1)
          .transform((program) => [program, 'serve']),
        z.array(z.string().min(1)).min(1),
      ])
      .prefault('vllm')
      .describe('The program: `vllm` or its path, to which `serve` is added; or a list, taken as it is.'),
    weights: z.string().min(1).describe('Path or Hugging Face id of the weights.'),
    fetch: z
      .array(z.string().min(1))
      .min(1)
      .exactOptional()
      .describe(
        'Command that brings the weights into the folder `weights` where they are not there, such as `[hf, download, NAME, --local-dir, FOLDER]`. It runs before the start, one at a time on a node, and again where it fails or is broken off.',
      ),
    args: z.array(z.string()).default([]).describe('Further flags; they win over those that Maestro sets.'),
    env: z.record(envName(), z.string()).default({}).describe('Further environment variables.'),
    toolCallParser: z.string().min(1).exactOptional().describe('vLLM `--tool-call-parser`; allows tool calls.'),
    reasoningParser: z.string().min(1).exactOptional().describe('vLLM `--reasoning-parser`.'),
  })
  .describe('Start the server instead of expecting it to run: it is watched, and started again when it ends.');

const cost = () => z.number().nonnegative();

const engine = z
  .strictObject({
    id: identifier().describe('Name of the engine, unique in the fleet.'),
    model: modelName().describe('Model of the catalogue or of `models`. With `url`, any name that the server serves.'),
    servedName: modelName()
      .exactOptional()
      .describe('Name under which it is served and asked for (vLLM `--served-model-name`). Default: `model`.'),
    url: z
      .string()
      .refine((url) => parseEngineUrl(url) !== undefined, { error: ENGINE_URL_HINT })
      .exactOptional()
      .describe(
        'Base URL of a vLLM server: one that already runs, or that `launch` starts there; `unix:/PATH` where it listens on a socket (vLLM `--uds`). Absent: the engine is emulated.',
      ),
    launch: launch.exactOptional(),
    adapters: z
      .record(modelName(), z.string().min(1))
      .exactOptional()
      .describe(
        'LoRA adapters on the model: the name under which each is served and asked for, and its folder or Hugging Face id, with which the server is started (vLLM `--lora-modules`). Of a server that already runs they are asked of it, and then this says only which names there will be.',
      ),
    gpus: z
      .array(z.int().nonnegative())
      .default([])
      .describe('Indices of its GPUs on the node; their number is the tensor-parallel degree times `dataParallel`.'),
    dataParallel: count()
      .default(1)
      .describe(
        'Data-parallel ranks behind its one address (vLLM `--data-parallel-size`): each has seats, a KV pool and everything but routed experts of its own, on its part of `gpus`.',
      ),
    chooseRank: z
      .boolean()
      .default(true)
      .describe(
        'Whether each call is sent to a rank that is chosen for it (header `X-data-parallel-rank`), where its context is; false: vLLM chooses the one with the least to do.',
      ),
    dtype: z.enum(['bf16', 'fp8', 'int4', 'mxfp4']).default('bf16').describe('Number format of the weights.'),
    kvDtype: z.enum(['bf16', 'fp8']).default('bf16').describe('Number format of the KV cache.'),
    kvMemory: bytes()
      .exactOptional()
      .describe('KV pool on each of its GPUs. Default: what the GPU has left when nothing else is awake on it.'),
    maxNumSeqs: count()
      .default(256)
      .describe('Largest batch the engine runs, or each of its ranks (vLLM `--max-num-seqs`).'),
    maxModelLen: count()
      .exactOptional()
      .describe(
        'Longest sequence in tokens (vLLM `--max-model-len`). Default: the longest that model and KV pool allow.',
      ),
    sleep: z
      .boolean()
      .exactOptional()
      .describe('Whether the engine runs with sleep mode. Default: true when emulated or started here.'),
    pinned: z.boolean().default(false).describe('Whether it stays awake whatever others need, once it is awake.'),
    kvcached: z
      .strictObject({
        least: bytes().prefault('1GiB').describe('KV memory on each GPU that it always keeps.'),
        segment: identifier()
          .exactOptional()
          .describe('Name of its shared-memory segment (`KVCACHED_IPC_NAME`). Default: `maestro-` and its id.'),
      })
      .transform(rename({ least: 'leastBytes' }))
      .exactOptional()
      .describe(
        'The engine runs with kvcached, so that its KV pool is lent to others while it does not need it; `kvMemory` is then the most that it may have.',
      ),
    measured: z
      .strictObject({
        requestMs: cost().describe('Before the first prompt token.'),
        prefillMsPerToken: cost().describe('For each token of the prompt that is not cached.'),
        stepMs: cost().describe('A decode step of one short sequence.'),
        stepMsPerSequence: cost().describe('What each further sequence adds to a step.'),
        stepMsPerContextToken: cost().describe('What each token of context adds to a step.'),
      })
      .exactOptional()
      .describe(
        'What work costs on it in milliseconds, as `maestro calibrate URL` measures. Default: the step-time model.',
      ),
    startAsleep: z.boolean().default(false).describe('Whether an emulated engine begins asleep (level 1).'),
    residue: bytes()
      .prefault('1GiB')
      .describe('GPU memory that stays taken while the engine sleeps: CUDA context, graphs, NCCL buffers.'),
    workspace: bytes()
      .exactOptional()
      .describe(
        'GPU memory that it takes while awake, beside weights, KV memory and residue: activations, sampling. Default: for a real engine an estimate by its model, at most what is left of its GPU; for an emulated one 0.',
      ),
    apiKeyEnv: envName()
      .exactOptional()
      .describe('Environment variable that holds the API key of the server. One that is started here is given it.'),
    apiKeyFile: z
      .string()
      .min(1)
      .exactOptional()
      .describe(
        'The same from a file that holds nothing else. Read again at `kill -HUP` where others start the server.',
      ),
  })
  .transform(rename({ kvMemory: 'kvMemoryBytes', residue: 'residueBytes', workspace: 'workspaceBytes' }));

const gpuList = z
  .union([
    z.array(z.string()).describe('One GPU type for each GPU.'),
    z.strictObject({
      type: z.string().describe('GPU type of the catalogue or of `gpus`.'),
      count: z.int().min(1).max(64).describe('How many of them.'),
    }),
  ])
  .transform((gpus) => (Array.isArray(gpus) ? gpus : Array.from({ length: gpus.count }, () => gpus.type)));

const node = z
  .strictObject({
    id: identifier().describe('Name of the node, unique in the fleet.'),
    cluster: identifier().default('local').describe('Cluster that the node belongs to.'),
    gpus: gpuList.prefault([]).describe('Its GPUs: a list of types (`[h100-sxm, h100-sxm]`) or `{type, count}`.'),
    hostMemory: bytes()
      .exactOptional()
      .describe('Host RAM for the weights of sleeping engines. Needed where an engine can sleep.'),
    staging: z
      .strictObject({
        folder: z
          .string()
          .regex(/^\//, { error: 'must be an absolute path, such as /dev/shm/maestro' })
          .default('/dev/shm/maestro')
          .describe('Where the copies lie: a folder of a RAM disk (tmpfs).'),
        memory: bytes().describe(
          'What all copies together may take: a part of `hostMemory`, which pinned weights then do not have.',
        ),
      })
      .transform(rename({ memory: 'memoryBytes' }))
      .exactOptional()
      .describe(
        'Keep copies of checkpoints in RAM for engines whose weights do not fit into host memory asleep, so that they are not read from disk again. Needs `launch` with `weights` given as a folder.',
      ),
    telemetry: z
      .union([
        z.enum(['none', 'nvidia-smi']),
        z.url({ protocol: /^https?$/, error: 'must be none, nvidia-smi or the URL of a DCGM exporter' }),
      ])
      .default('none')
      .describe(
        'What tells how much GPU memory is in use, so that a model wakes only into room that is there: `nvidia-smi` on this host, or the ' +
          'metrics page of a DCGM exporter (`http://host:9400/metrics`). Emulated engines bring their own.',
      ),
    engines: z.array(engine).prefault([]).describe('The vLLM servers of the node.'),
  })
  .transform(rename({ hostMemory: 'hostMemoryBytes' }));

export const fleetSchema = z
  .strictObject({
    nodes: z.array(node).prefault([]).describe('The GPU hosts.'),
    tls: z
      .strictObject({
        ca: z
          .string()
          .min(1)
          .exactOptional()
          .describe('Certificates that sign those of the servers. Default: those that Node trusts.'),
        cert: z
          .string()
          .min(1)
          .exactOptional()
          .describe('Certificate that servers are shown that ask for one (vLLM `--ssl-cert-reqs 2`).'),
        key: z.string().min(1).exactOptional().describe('Its private key.'),
      })
      .refine(({ cert, key }) => (cert === undefined) === (key === undefined), {
        error: 'must name both cert and key, or none of them',
      })
      .exactOptional()
      .describe('TLS to servers at `https://` URLs: paths of files in PEM form. Files that change are read again.'),
    stateDir: z
      .string()
      .min(1)
      .default('.maestro')
      .describe('Folder for the logs of started engines and for the records by which they are found again.'),
    onExit: z
      .enum(['stop', 'keep'])
      .default('stop')
      .describe(
        'What becomes of started engines when Maestro ends: `stop` after the drain, or `keep` for its next run.',
      ),
    timeScale: z
      .number()
      .positive()
      .max(1000)
      .default(1)
      .describe('Emulated seconds in one real second; other than 1 only where every engine is emulated.'),
  })
  .prefault({});

/** Own model architectures, in the terms of a model's config.json. Same fields as `LlmSpec`. */
export const modelSchema = z
  .strictObject({
    name: modelName().describe('Name of the model.'),
    layers: count().describe('`num_hidden_layers`.'),
    hiddenSize: count().describe('`hidden_size`.'),
    attentionHeads: count().describe('`num_attention_heads`.'),
    kvHeads: count().describe('`num_key_value_heads`.'),
    headDim: count().describe('`head_dim`.'),
    ffnSize: count().describe('`intermediate_size`; with `moe`, the width of one expert.'),
    vocabSize: count().describe('`vocab_size`.'),
    parametersB: z.number().positive().describe('Parameters, in billions.'),
    activeParametersB: z.number().positive().describe('Parameters that one token passes through, in billions.'),
    maxContextTokens: count().describe('Longest sequence in tokens.'),
    mla: z
      .strictObject({
        kvLoraRank: count().describe('`kv_lora_rank`.'),
        ropeDim: count().describe('`qk_rope_head_dim`.'),
      })
      .exactOptional()
      .describe('Multi-head latent attention.'),
    moe: z
      .strictObject({
        experts: count().describe('Number of routed experts.'),
        expertsPerToken: count().describe('Experts that one token passes through.'),
        sharedExperts: z.int().nonnegative().default(0).describe('Experts that every token passes through.'),
      })
      .exactOptional()
      .describe('Mixture of experts.'),
    fullAttentionLayers: count().exactOptional().describe('Layers whose KV grows with the context. Default: all.'),
    slidingWindowTokens: count().exactOptional().describe('Window of the other layers, in tokens.'),
    layerState: bytes()
      .exactOptional()
      .describe('State of one sequence in one of the other layers of a hybrid, over all GPUs.'),
    tiedEmbeddings: z.boolean().exactOptional().describe('`tie_word_embeddings`. Default: false.'),
  })
  .transform(rename({ layerState: 'stateBytesPerLayer' }));

/** Own GPU types. Same fields as `GpuSpec`. */
export const gpuSchema = z
  .strictObject({
    name: identifier().describe('Name of the GPU type.'),
    memory: bytes().describe('GPU memory.'),
    memoryBandwidth: rate().describe('Bandwidth of the GPU memory.'),
    bf16Flops: flops().describe('Dense bf16 arithmetic.'),
    fp8Flops: flops().exactOptional().describe('Dense fp8 arithmetic; absent where the GPU has none.'),
    peerBandwidth: rate().describe('GPU to GPU inside a node, one way.'),
    hostBandwidth: rate().describe('Pinned host memory to GPU, as measured.'),
  })
  .transform(rename({ memory: 'memoryBytes' }));
