import { agenticMooncake } from './agentic-mooncake.js';
import { azureLlm2023 } from './azure-llm-2023.js';
import { chatdev } from './chatdev.js';
import { decisionLog } from './decision-log.js';
import { dylan } from './dylan.js';
import type { TraceImporter } from './importer.js';
import { kvCacheTester } from './kv-cache-tester.js';
import { lmcacheAgentTrace } from './lmcache-agent-trace.js';
import { marble } from './marble.js';
import { metagptRspCache } from './metagpt-rsp-cache.js';
import { mooncakeFast25 } from './mooncake-fast25.js';
import { servegenDeepseekR1 } from './servegen-deepseek-r1.js';
import { tauBench } from './tau-bench.js';
import { vllmBurstgptReplay } from './vllm-burstgpt-replay.js';
import { whoAndWhen } from './who-and-when.js';

/** Every format that `maestro trace import` reads. */
export const IMPORTERS: readonly TraceImporter[] = [
  agenticMooncake,
  azureLlm2023,
  chatdev,
  decisionLog,
  dylan,
  kvCacheTester,
  lmcacheAgentTrace,
  marble,
  metagptRspCache,
  mooncakeFast25,
  servegenDeepseekR1,
  tauBench,
  vllmBurstgptReplay,
  whoAndWhen,
];
