import type { GpuSpec } from '../model/gpu.js';
import type { Dtype } from '../model/llm.js';

/** How far a GPU with the kernels of a dtype family falls short of its datasheet. Used by `StepCost`. */
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
}

function fitted(
  weightBandwidthShare: number,
  gemmShare: number,
  corner: number,
  attentionLaunchMs: number,
  kvBandwidthShare: number,
  attentionShare: number,
  allReduceMs: number,
  allReduceGBs: number,
): StepConstants {
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
 */
const FITS = {
  a100: fitted(0.738, 0.858, 2.08, 0.018, 0.749, 0.9, 0.019, 54),
  h100: fitted(0.808, 0.839, 2.41, 0.014, 0.868, 0.36, 0.0045, 97),
  h100Fp8: fitted(0.737, 0.584, 1.87, 0.019, 0.913, 0.64, 0.009, 101),
  h200: fitted(0.742, 0.816, 2.41, 0.01, 0.844, 0.35, 0.007, 102),
  h200Fp8: fitted(0.769, 0.678, 1.56, 0.033, 0.831, 0.57, 0.007, 102),
  b200: fitted(0.775, 0.761, 1.78, 0.0145, 0.905, 0.29, 0.01, 139),
  l40s: fitted(0.836, 0.729, 1.64, 0.004, 0.724, 0.25, 0.02, 9),
  // As the L40S; arithmetic from LLMServingSim's profiles of an RTX 4090 and an RTX PRO 6000.
  rtx: fitted(0.836, 0.95, 1.9, 0.004, 0.724, 0.4, 0.02, 9),
} as const;

/** Fixed cost of one all-reduce over PCIe, and its bytes a second by group size: 1 MiB takes 117, 841 and 2080 us on 2, 4 and 8 L40S. */
const PCIE_ALL_REDUCE_MS = 0.02;
function pcieAllReduceBandwidth(tp: number): number {
  return tp <= 2 ? 10.8e9 : tp <= 4 ? 1.28e9 : 0.51e9;
}
/** Links slower than this are PCIe, not NVLink or xGMI. */
const NVLINK_MIN_BANDWIDTH = 100e9;

/** What unpacking 4-bit weights for 16-bit arithmetic (Marlin kernels) leaves of the bandwidth. Blackwell need not unpack. */
const FOUR_BIT_BANDWIDTH = 0.85;

/**
 * Constants of a GPU with weights of `dtype`. Fitted for A100, H100, H200 (bf16 and fp8), B200 and L40S (bf16). Others take those
 * of the nearest relative: B300 as B200; L4 and, with more of their arithmetic, the RTX cards as L40S; everything else as H100.
 * Where a family has no fp8 fit, its bf16 constants serve: the bytes halve and, where the GPU has fp8 arithmetic, the FLOPs double.
 *
 * The fits know groups of up to four GPUs. Measured servers on eight are 10 to 20 us a layer slower than they say, so the fixed
 * cost of an all-reduce grows with the group beyond four.
 */
export function stepConstants(gpu: GpuSpec, dtype: Dtype, tp: number): StepConstants {
  const base = family(gpu, dtype);
  const fourBit = dtype === 'int4' || dtype === 'mxfp4';
  const overPcie = gpu.peerBandwidth < NVLINK_MIN_BANDWIDTH;
  return {
    ...base,
    weightBandwidthShare: base.weightBandwidthShare * (fourBit && base !== FITS.b200 ? FOUR_BIT_BANDWIDTH : 1),
    allReduceMs: overPcie ? PCIE_ALL_REDUCE_MS : base.allReduceMs * Math.max(1, tp / 4),
    allReduceBandwidth: overPcie ? pcieAllReduceBandwidth(tp) : base.allReduceBandwidth,
  };
}

function family(gpu: GpuSpec, dtype: Dtype): StepConstants {
  const fp8 = dtype === 'fp8';
  if (gpu.name.startsWith('a100')) return FITS.a100;
  if (gpu.name.startsWith('h200')) return fp8 ? FITS.h200Fp8 : FITS.h200;
  if (gpu.name.startsWith('b200') || gpu.name.startsWith('b300')) return FITS.b200;
  if (gpu.name.startsWith('rtx')) return FITS.rtx;
  if (gpu.name.startsWith('l4')) return FITS.l40s;
  return fp8 ? FITS.h100Fp8 : FITS.h100;
}

/** Arithmetic peak for weights of `dtype`: fp8 where weights and GPU have it, else bf16. */
export function peakFlops(gpu: GpuSpec, dtype: Dtype): number {
  return dtype === 'fp8' ? (gpu.fp8Flops ?? gpu.bf16Flops) : gpu.bf16Flops;
}
