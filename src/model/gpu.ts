/** One GPU type: vendor figures for dense arithmetic, one way for links. */
export interface GpuSpec {
  /** Catalogue name, for example `h100-sxm`. */
  readonly name: string;
  readonly memoryBytes: number;
  /** Memory bandwidth, bytes a second. */
  readonly memoryBandwidth: number;
  /** Dense bf16 arithmetic, FLOP a second. */
  readonly bf16Flops: number;
  /** Dense fp8 arithmetic, FLOP a second; absent where the GPU has none. */
  readonly fp8Flops?: number;
  /** GPU to GPU inside a node, bytes a second, one way. */
  readonly peerBandwidth: number;
  /** Host to GPU, effective for pinned memory, bytes a second. */
  readonly hostBandwidth: number;
}
