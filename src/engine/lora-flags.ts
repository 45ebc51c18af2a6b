/** Adapters that a batch may mix: each takes GPU memory for its weights, at the size of the largest rank that is allowed. */
const MOST_IN_A_BATCH = 8;

/** vLLM's flags for LoRA adapters, given by name with their folders. By its default a batch may have calls of one adapter only, and those of others wait. */
export function loraFlags(adapters: Readonly<Record<string, string>> = {}): string[] {
  const modules = Object.entries(adapters).map(([name, path]) => `${name}=${path}`);
  if (modules.length === 0) return [];
  const inBatch = Math.min(modules.length, MOST_IN_A_BATCH);
  return ['--enable-lora', '--max-loras', String(inBatch), '--lora-modules', ...modules];
}
