/**
 * A fast non-cryptographic hash over growing bytes: two 32-bit multiply-rotate lanes (constants of xxHash32), read out at any
 * point as one 53-bit number. Equal bytes fed in equal steps give equal values on every machine.
 */
export class RollingHash {
  private low: number;
  private high: number;

  constructor(seed = 0) {
    this.low = (seed ^ 0x9e3779b1) | 0;
    this.high = (seed + 0x27d4eb2f) | 0;
  }

  update(bytes: Uint8Array, start: number, end: number): void {
    let { low, high } = this;
    let index = start;
    for (; index + 4 <= end; index += 4) {
      const word = bytes[index]! | (bytes[index + 1]! << 8) | (bytes[index + 2]! << 16) | (bytes[index + 3]! << 24);
      low = Math.imul(low ^ word, 0x85ebca77);
      low = (low << 13) | (low >>> 19);
      high = Math.imul((high + word) | 0, 0x9e3779b1);
      high = (high << 17) | (high >>> 15);
    }
    for (; index < end; index++) {
      low = Math.imul(low ^ bytes[index]!, 0xc2b2ae3d);
      high = Math.imul((high + bytes[index]!) | 0, 0x165667b1);
      high ^= high >>> 15;
    }
    // The length is mixed in, so that one long and two short updates of the same bytes differ.
    this.low = Math.imul(low ^ (end - start), 0x85ebca77);
    this.high = Math.imul(high ^ (end - start), 0x9e3779b1);
  }

  updateText(text: string): void {
    for (let index = 0; index < text.length; index++) {
      this.low = Math.imul(this.low ^ text.charCodeAt(index), 0x85ebca77);
      this.high = Math.imul((this.high + text.charCodeAt(index)) | 0, 0x165667b1);
      this.high ^= this.high >>> 13;
    }
  }

  /** An integer in [0, 2^53). */
  value(): number {
    let { low, high } = this;
    low = Math.imul(low ^ (low >>> 15), 0x85ebca77);
    high = Math.imul(high ^ (high >>> 13), 0xc2b2ae3d);
    low ^= high >>> 16;
    high ^= low >>> 13;
    return (high >>> 11) * 2 ** 32 + (low >>> 0);
  }

  /** The value as short text. */
  text(): string {
    return this.value().toString(36);
  }
}
