import type { GpuSpec } from '../model/gpu.js';
import type { Dtype } from '../model/llm.js';

/** How far a GPU with the kernels of a dtype family falls short of its datasheet, and what the engine adds. Used by `StepCost`. */
export interface StepConstants {
  /** Share of the memory bandwidth that reading weights attains. */
  readonly weightBandwidthShare: number;
  /** Share of the peak arithmetic that matrix products attain. */
  readonly gemmShare: number;
  /** Sharpness of the roofline's corner: the p of a p-norm. */
  readonly corner: number;
  /** Launch cost of attention, a layer. */
  readonly attentionLaunchMs: number;
  /** Share of the memory bandwidth that reading KV attains. */
  readonly kvBandwidthShare: number;
  /** Share of the peak arithmetic that prefill attention attains. */
  readonly attentionShare: number;
  /** Fixed cost of one all-reduce, and its bytes a second. */
  readonly allReduceMs: number;
  readonly allReduceBandwidth: number;
  /** Routing, sorting and combining of tokens in one mixture-of-experts layer. */
  readonly moeLayerMs: number;
  /** Shares of bandwidth and of arithmetic that the grouped matrix products of routed experts attain. */
  readonly expertBandwidthShare: number;
  readonly expertGemmShare: number;
  /** CPU work of the engine for a step, and for each sequence that samples a token in it. */
  readonly hostStepMs: number;
  readonly hostSeqMs: number;
  /** What a layer takes longer to launch in a step with prefill, which cannot run as one CUDA graph. */
  readonly prefillLayerMs: number;
}

type KernelConstants = Pick<
  StepConstants,
  | 'weightBandwidthShare'
  | 'gemmShare'
  | 'corner'
  | 'attentionLaunchMs'
  | 'kvBandwidthShare'
  | 'attentionShare'
  | 'allReduceMs'
  | 'allReduceBandwidth'
>;

function fitted(
  weightBandwidthShare: number,
  gemmShare: number,
  corner: number,
  attentionLaunchMs: number,
  kvBandwidthShare: number,
  attentionShare: number,
  allReduceMs: number,
  allReduceGBs: number,
): KernelConstants {
  return {
    weightBandwidthShare,
    gemmShare,
    corner,
    attentionLaunchMs,
    kvBandwidthShare,
    attentionShare,
    allReduceMs,
    allReduceBandwidth: allReduceGBs * 1e9,
  };
}

/**
 * Fitted to sums of vLLM kernels that AIConfigurator measured (GEMM, FlashAttention, custom all-reduce), 87 to 145 points each:
 * batch 1 to 256, context 512 to 8192, prefill 128 to 8192. Mean error 2.5 to 3.4 %.
 *
 * The 8- and 4-bit families of the B200 have no kernel sums. They are fitted to every other one of the closed loops that NVIDIA measured
 * with Llama-3.1-70B on one to eight of them; `npm run bench:silicon-fit` fits them, and prints the errors on the loops held back.
 */
const FITS = {
  a100: fitted(0.738, 0.858, 2.08, 0.018, 0.749, 0.9, 0.019, 54),
  h100: fitted(0.808, 0.839, 2.41, 0.014, 0.868, 0.36, 0.0045, 97),
  h100Fp8: fitted(0.737, 0.584, 1.87, 0.019, 0.913, 0.64, 0.009, 101),
  h200: fitted(0.742, 0.816, 2.41, 0.01, 0.844, 0.35, 0.007, 102),
  h200Fp8: fitted(0.769, 0.678, 1.56, 0.033, 0.831, 0.57, 0.007, 102),
  b200: fitted(0.775, 0.761, 1.78, 0.0145, 0.905, 0.29, 0.01, 139),
  b200Fp8: fitted(0.814, 0.448, 6, 0.027, 0.905, 0.75, 0.0104, 198),
  b200Fp4: fitted(0.634, 0.461, 6, 0.034, 0.905, 0.75, 0.0097, 198),
  l40s: fitted(0.836, 0.729, 1.64, 0.004, 0.724, 0.25, 0.02, 9),
  // As the L40S; arithmetic from LLMServingSim's profiles of an RTX 4090 and an RTX PRO 6000.
  rtx: fitted(0.836, 0.95, 1.9, 0.004, 0.724, 0.4, 0.02, 9),
} as const;

type ExpertConstants = Pick<StepConstants, 'moeLayerMs' | 'expertBandwidthShare' | 'expertGemmShare'>;

function experts(moeLayerMs: number, expertBandwidthShare: number, expertGemmShare: number): ExpertConstants {
  return { moeLayerMs, expertBandwidthShare, expertGemmShare };
}

/**
 * Grouped products of routed experts, fitted likewise to every other one of NVIDIA's closed loops: gpt-oss-120b (mxfp4, as 16-bit Marlin
 * kernels on Hopper, in 4 bits on Blackwell), Qwen3-235B (fp8 on Hopper), MiniMax-M2.5 (fp8, fp4 on Blackwell) and Kimi-K2.5 (int4 on
 * Blackwell). Those of bf16 are a guess that no measurement backs.
 */
const EXPERTS = {
  hopper: { bf16: experts(0.04, 0.8, 0.3), fp8: experts(0.219, 0.742, 0.168), fourBit: experts(0.044, 0.84, 0.214) },
  blackwell: {
    bf16: experts(0.04, 0.8, 0.3),
    fp8: experts(0.062, 0.95, 0.095),
    mxfp4: experts(0.014, 0.95, 0.167),
    int4: experts(0.087, 0.463, 0.089),
  },
} as const;

/**
 * vLLM's CPU work for a step and for every sequence in it (scheduling, input tensors, sampling, one message to the API server), and the launch
 * of a layer outside a CUDA graph. Fitted likewise to Qwen3-32B on 2 and 8 H100 under vLLM 0.12, which works between steps.
 */
const HOST = { hostStepMs: 1.4, hostSeqMs: 0.048, prefillLayerMs: 0.122 };

/** Fixed cost of one all-reduce over PCIe, and its bytes a second by group size: 1 MiB takes 117, 841 and 2080 us on 2, 4 and 8 L40S. */
const PCIE_ALL_REDUCE_MS = 0.02;
function pcieAllReduceBandwidth(tp: number): number {
  return tp <= 2 ? 10.8e9 : tp <= 4 ? 1.28e9 : 0.51e9;
}
/** Links slower than this are PCIe, not NVLink or xGMI. */
const NVLINK_MIN_BANDWIDTH = 100e9;
/** Groups of more than four reduce large messages inside the NVSwitch. */
const LARGE_GROUP_BANDWIDTH = 1.8;

/** What unpacking 4-bit weights for 16-bit arithmetic (Marlin kernels) leaves of the bandwidth. */
const FOUR_BIT_BANDWIDTH = 0.85;

/**
 * Constants of a GPU with weights of `dtype`. Fitted for A100, H100, H200 (bf16 and fp8), B200 and L40S (bf16). Others take those
 * of the nearest relative: B300 as B200; L4 and, with more of their arithmetic, the RTX cards as L40S; everything else as H100.
 * Where a family has no fp8 fit, its bf16 constants serve: the bytes halve and, where the GPU has fp8 arithmetic, the FLOPs double.
 *
 * The kernel sums know groups of up to four GPUs. Measured servers on eight are 10 to 20 us a layer slower than they say, so the fixed
 * cost of an all-reduce grows with the group beyond four.
 */
export function stepConstants(gpu: GpuSpec, dtype: Dtype, tp: number): StepConstants {
  const base = family(gpu, dtype);
  const overPcie = gpu.peerBandwidth < NVLINK_MIN_BANDWIDTH;
  const unpacked = (dtype === 'int4' || dtype === 'mxfp4') && !computesInFourBit(gpu, dtype);
  return {
    ...base,
    ...expertsOf(gpu, dtype),
    ...HOST,
    weightBandwidthShare: base.weightBandwidthShare * (unpacked ? FOUR_BIT_BANDWIDTH : 1),
    allReduceMs: overPcie ? PCIE_ALL_REDUCE_MS : base.allReduceMs * (isBlackwell(gpu) ? 1 : Math.max(1, tp / 4)),
    allReduceBandwidth: overPcie
      ? pcieAllReduceBandwidth(tp)
      : base.allReduceBandwidth * (tp > 4 && !isBlackwell(gpu) ? LARGE_GROUP_BANDWIDTH : 1),
  };
}

function family(gpu: GpuSpec, dtype: Dtype): KernelConstants {
  const fp8 = dtype === 'fp8';
  if (gpu.name.startsWith('a100')) return FITS.a100;
  if (gpu.name.startsWith('h200')) return fp8 ? FITS.h200Fp8 : FITS.h200;
  if (isBlackwell(gpu)) return fp8 ? FITS.b200Fp8 : dtype === 'mxfp4' ? FITS.b200Fp4 : FITS.b200;
  if (gpu.name.startsWith('rtx')) return FITS.rtx;
  if (gpu.name.startsWith('l4')) return FITS.l40s;
  return fp8 ? FITS.h100Fp8 : FITS.h100;
}

function expertsOf(gpu: GpuSpec, dtype: Dtype): ExpertConstants {
  if (isBlackwell(gpu)) return EXPERTS.blackwell[dtype];
  return dtype === 'fp8' || dtype === 'bf16' ? EXPERTS.hopper[dtype] : EXPERTS.hopper.fourBit;
}

/** The data-centre parts of the Blackwell generation. */
function isBlackwell(gpu: GpuSpec): boolean {
  return gpu.name.startsWith('b200') || gpu.name.startsWith('b300');
}

function computesInFourBit(gpu: GpuSpec, dtype: Dtype): boolean {
  return dtype === 'mxfp4' && isBlackwell(gpu);
}

/** Arithmetic peak for weights of `dtype`: fp8, and on Blackwell block-scaled 4-bit floats at twice that, where weights and GPU have it; else bf16. */
export function peakFlops(gpu: GpuSpec, dtype: Dtype): number {
  if (computesInFourBit(gpu, dtype)) return 2 * (gpu.fp8Flops ?? gpu.bf16Flops);
  return dtype === 'fp8' ? (gpu.fp8Flops ?? gpu.bf16Flops) : gpu.bf16Flops;
}
