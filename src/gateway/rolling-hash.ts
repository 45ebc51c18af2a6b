import { crc32 } from 'node:zlib';

/** Distance of the bytes that the second lane looks at. */
const SAMPLE_STRIDE = 61;

/**
 * A fast non-cryptographic hash over growing bytes, read out at any point as one 53-bit number. One lane is the native CRC-32, which sees every
 * byte and notices every small change; the other mixes in lengths and a sample of the bytes, so that chance collisions are rare. Equal bytes fed
 * in equal steps give equal values on every machine.
 */
export class RollingHash {
  private crc: number;
  private lane: number;

  constructor(seed = 0) {
    this.crc = seed >>> 0;
    this.lane = (seed ^ 0x9e3779b1) | 0;
  }

  update(bytes: Buffer, start: number, end: number): void {
    this.crc = crc32(bytes.subarray(start, end), this.crc);
    let { lane } = this;
    for (let index = start; index < end; index += SAMPLE_STRIDE) {
      lane = Math.imul(lane ^ bytes[index]!, 0x85ebca77);
      lane ^= lane >>> 15;
    }
    this.lane = Math.imul(lane ^ (end - start), 0xc2b2ae3d) ^ this.crc;
  }

  updateText(text: string): void {
    this.crc = crc32(text, this.crc);
    this.lane = Math.imul(this.lane ^ text.length, 0xc2b2ae3d) ^ this.crc;
  }

  /** An integer in [0, 2^53). */
  value(): number {
    let lane = Math.imul(this.lane ^ (this.lane >>> 15), 0x85ebca77);
    lane ^= lane >>> 13;
    return (lane >>> 11) * 2 ** 32 + this.crc;
  }

  /** The value as text. */
  text(): string {
    return String(this.value());
  }
}
