/** The fleet file of an agent with two real vLLM servers. */
import { join } from 'node:path';
import { AgentProcess, ENGINES } from '../system/agent-process.js';

/** What `install.py` prints. */
export interface Installed {
  /** Python that has vLLM. */
  readonly python: string;
  readonly model: string;
  readonly cache: string;
  readonly version: string;
}

/**
 * Two models, one behind a port and one behind a socket, that share one GPU of which the account knows, and that does not exist: together awake they need 2.25 GiB of 2. On a CPU nothing is freed by a sleep; what
 * Maestro decides, and what it asks of vLLM, is the same.
 */
export function realFleet(installed: Installed, folder: string): AgentProcess {
  const { python, model, cache } = installed;
  const tiny = {
    ...{ layers: 2, hiddenSize: 128, attentionHeads: 4, kvHeads: 2, headDim: 32, ffnSize: 256, vocabSize: 1024 },
    ...{ parametersB: 0.0006, activeParametersB: 0.0006, maxContextTokens: 32_768 },
  };
  const env = {
    ...{ HF_HUB_OFFLINE: '1', VLLM_NO_USAGE_STATS: '1', VLLM_CACHE_ROOT: cache, VLLM_CONFIG_ROOT: cache },
    // On few cores an engine with a thread for each starves its own API server.
    ...{ OMP_NUM_THREADS: '1', PYTHONHASHSEED: '0' },
    // `install.py` compiles nothing: the first start does, and keeps it.
    PYTHONDONTWRITEBYTECODE: '',
  };
  return new AgentProcess(
    (folder, urls) => {
      const engines = ENGINES.map((id) => ({
        ...{
          id,
          model: `tiny-${id}`,
          gpus: [0],
          kvMemory: '1GiB',
          residue: '128MiB',
          maxNumSeqs: 4,
          maxModelLen: 32_768,
        },
        url: urls[id],
        launch: {
          program: [python, join(import.meta.dirname, 'serve.py'), 'serve'],
          ...{ weights: model, args: ['--dtype', 'float32', '--enforce-eager'], env },
        },
      }));
      return {
        models: ENGINES.map((id) => ({ name: `tiny-${id}`, ...tiny })),
        gpus: [
          {
            ...{ name: 'imagined', memory: '2GiB', memoryBandwidth: '100GB/s', bf16Flops: '1TFLOPS' },
            ...{ peerBandwidth: '10GB/s', hostBandwidth: '10GB/s' },
          },
        ],
        fleet: {
          nodes: [{ id: 'host', gpus: ['imagined'], hostMemory: '8GiB', engines }],
        },
        scheduling: { minResidency: '2s' },
        observe: { logLevel: 'info', decisionLog: join(folder, 'decisions.jsonl') },
      };
    },
    folder,
    ['b'],
  );
}
