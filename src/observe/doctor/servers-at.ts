import { VllmClient, type VllmClientOptions } from '../../engine/vllm/client.js';
import { readEngineMetrics } from '../../engine/vllm/metrics.js';

/** Load balancers mostly go round, but others ask them too. */
const LOOKS = 5;

/** How many servers answer at one address, as far as some looks tell, each over a connection of its own: every process says when it started. At least 1. */
export async function serversAt(options: VllmClientOptions): Promise<number> {
  const starts = new Set<number>();
  for (let look = 0; look < LOOKS; look++) {
    const client = new VllmClient(options);
    const page = await client.metrics();
    await client.close();
    if (!page.ok) break;
    const { processStartSeconds } = readEngineMetrics(page.value);
    if (processStartSeconds !== undefined) starts.add(processStartSeconds);
  }
  return Math.max(1, starts.size);
}
