import { agenticMooncake } from './agentic-mooncake.js';
import { azureLlm2023 } from './azure-llm-2023.js';
import type { TraceImporter } from './importer.js';
import { kvCacheTester } from './kv-cache-tester.js';
import { marble } from './marble.js';
import { mooncakeFast25 } from './mooncake-fast25.js';

/** Every format that `maestro trace import` reads. */
export const IMPORTERS: readonly TraceImporter[] = [
  agenticMooncake,
  azureLlm2023,
  kvCacheTester,
  marble,
  mooncakeFast25,
];
