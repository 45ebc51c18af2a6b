import type { GpuSpec } from './gpu.js';
import { GB, GiB, MiB } from './units.js';

/** Effective rates of pinned host memory to one GPU: a PCIe 4 x16 and a PCIe 5 x16 slot (vLLM sleep-mode and ServerlessLLM loads). */
const HOST_GEN4 = 21 * GB;
const HOST_GEN5 = 50 * GB;
const TFLOPS = 1e12;
const TB_PER_S = 1e12;

/**
 * GPU types by name. Vendor datasheet figures as carried in AIConfigurator's system files (dense arithmetic, one-way links);
 * MI300X, RTX 4090, B300 and RTX PRO 6000 from vendor material.
 */
const ENTRIES: readonly GpuSpec[] = [
  {
    name: 'a100-sxm-80gb',
    memoryBytes: 80 * GiB,
    memoryBandwidth: 2.039 * TB_PER_S,
    bf16Flops: 312 * TFLOPS,
    peerBandwidth: 300 * GB,
    hostBandwidth: HOST_GEN4,
  },
  {
    name: 'a100-pcie-80gb',
    memoryBytes: 80 * GiB,
    memoryBandwidth: 1.935 * TB_PER_S,
    bf16Flops: 312 * TFLOPS,
    peerBandwidth: 32 * GB,
    hostBandwidth: HOST_GEN4,
  },
  {
    name: 'h100-sxm',
    memoryBytes: 80 * GiB,
    memoryBandwidth: 3.35 * TB_PER_S,
    bf16Flops: 989 * TFLOPS,
    fp8Flops: 1978 * TFLOPS,
    peerBandwidth: 450 * GB,
    hostBandwidth: HOST_GEN5,
  },
  {
    name: 'h200-sxm',
    // What the driver shows of the “141 GB” part.
    memoryBytes: 143_771 * MiB,
    memoryBandwidth: 4.8 * TB_PER_S,
    bf16Flops: 989 * TFLOPS,
    fp8Flops: 1978 * TFLOPS,
    peerBandwidth: 450 * GB,
    hostBandwidth: HOST_GEN5,
  },
  {
    name: 'b200-sxm',
    memoryBytes: 180 * GiB,
    memoryBandwidth: 7.7 * TB_PER_S,
    bf16Flops: 2250 * TFLOPS,
    fp8Flops: 4500 * TFLOPS,
    peerBandwidth: 900 * GB,
    hostBandwidth: HOST_GEN5,
  },
  {
    name: 'b300-sxm',
    memoryBytes: 288 * GB,
    memoryBandwidth: 8 * TB_PER_S,
    bf16Flops: 2250 * TFLOPS,
    fp8Flops: 4500 * TFLOPS,
    peerBandwidth: 900 * GB,
    hostBandwidth: HOST_GEN5,
  },
  {
    name: 'l40s',
    memoryBytes: 46_068 * MiB,
    memoryBandwidth: 0.864 * TB_PER_S,
    bf16Flops: 362 * TFLOPS,
    fp8Flops: 733 * TFLOPS,
    peerBandwidth: 32 * GB,
    hostBandwidth: HOST_GEN4,
  },
  {
    name: 'l4',
    memoryBytes: 24 * GB,
    memoryBandwidth: 0.3 * TB_PER_S,
    bf16Flops: 121 * TFLOPS,
    fp8Flops: 242 * TFLOPS,
    peerBandwidth: 32 * GB,
    hostBandwidth: HOST_GEN4,
  },
  {
    name: 'mi300x',
    memoryBytes: 192 * GB,
    memoryBandwidth: 5.3 * TB_PER_S,
    bf16Flops: 1307.4 * TFLOPS,
    fp8Flops: 2614.9 * TFLOPS,
    // Seven links of 64 GB/s, which a collective uses at once.
    peerBandwidth: 7 * 64 * GB,
    hostBandwidth: HOST_GEN5,
  },
  {
    // The profile of LLMServingSim implies about 149 TFLOPS on this card; the figure here is Nvidia's, with fp32 accumulation.
    name: 'rtx-4090',
    memoryBytes: 25.25 * GB,
    memoryBandwidth: 1.008 * TB_PER_S,
    bf16Flops: 165.2 * TFLOPS,
    fp8Flops: 330.3 * TFLOPS,
    peerBandwidth: 32 * GB,
    hostBandwidth: HOST_GEN4,
  },
  {
    // No vendor arithmetic figure is at hand: these TFLOPS follow from the measured Llama-3.1-8B prefill (24.8k tokens a second)
    // at the GEMM utilisation of the other Blackwell part.
    name: 'rtx-pro-6000',
    memoryBytes: 96 * GB,
    memoryBandwidth: 1.597 * TB_PER_S,
    bf16Flops: 500 * TFLOPS,
    fp8Flops: 1000 * TFLOPS,
    peerBandwidth: 64 * GB,
    hostBandwidth: HOST_GEN5,
  },
];

const BY_NAME = new Map(ENTRIES.map((gpu) => [gpu.name, gpu]));

/** Every GPU name of the catalogue, for error messages and the config schema. */
export const GPU_NAMES: readonly string[] = ENTRIES.map((gpu) => gpu.name);

/** Every entry, in the order of {@link GPU_NAMES}. */
export const GPU_CATALOGUE: readonly GpuSpec[] = ENTRIES;

/** Ordered from specific to general: the first pattern found in a normalised name decides. */
const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [/a100.*pcie|a100.*pci/, 'a100-pcie-80gb'],
  [/a100/, 'a100-sxm-80gb'],
  [/h200/, 'h200-sxm'],
  [/h100/, 'h100-sxm'],
  [/b300/, 'b300-sxm'],
  [/b200/, 'b200-sxm'],
  [/l40s/, 'l40s'],
  [/\bl4\b/, 'l4'],
  [/mi300x/, 'mi300x'],
  [/4090/, 'rtx-4090'],
  [/rtx-pro-6000/, 'rtx-pro-6000'],
];

/**
 * The GPU that a name stands for: a catalogue name, or what drivers and clouds write (`NVIDIA H100 80GB HBM3`, `A100-SXM4-80GB`).
 * A 40 GB A100 is not an 80 GB one, and PCIe or NVL cards of the H100 family are not the SXM part, so those find nothing.
 */
export function findGpu(name: string): GpuSpec | undefined {
  const wanted = name
    .trim()
    .toLowerCase()
    .replace(/[\s_]+/g, '-');
  const exact = BY_NAME.get(wanted);
  if (exact) return exact;
  if (/a100.*40gb|h[12]00.*(pcie|nvl)|gh200|gb[23]00/.test(wanted)) return undefined;
  for (const [pattern, found] of PATTERNS) if (pattern.test(wanted)) return BY_NAME.get(found);
  return undefined;
}
