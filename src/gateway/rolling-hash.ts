import { crc32, deflateRawSync } from 'node:zlib';

// The zlib of Node asks the processor what it can do when something is deflated for the first time. Until then a CRC takes twice as long.
deflateRawSync('');

/** Distance of the bytes that the second lane looks at. */
const SAMPLE_STRIDE = 61;

/**
 * A fast non-cryptographic hash over growing bytes, read out at any point as one 53-bit number. One lane is the native CRC-32, which sees every
 * byte and notices every small change; the other mixes in the length and a sample of the bytes, so that chance collisions are rare. Equal bytes give
 * equal values on every machine, whatever steps they are fed in.
 */
export class RollingHash {
  private crc = 0;
  private lane = 0x9e3779b1 | 0;
  private bytes = 0;
  /** Bytes until the next one that the second lane looks at. */
  private ahead = 0;

  update(bytes: Buffer, start: number, end: number): void {
    this.crc = crc32(bytes.subarray(start, end), this.crc);
    let { lane } = this;
    let index = start + this.ahead;
    for (; index < end; index += SAMPLE_STRIDE) {
      lane = Math.imul(lane ^ bytes[index]!, 0x85ebca77);
      lane ^= lane >>> 15;
    }
    this.lane = lane;
    this.ahead = index - end;
    this.bytes += end - start;
  }

  updateText(text: string): void {
    this.crc = crc32(text, this.crc);
    this.lane = Math.imul(this.lane ^ text.length, 0xc2b2ae3d) ^ this.crc;
  }

  /** An integer in [0, 2^53). */
  value(): number {
    let lane = Math.imul(this.lane ^ this.bytes, 0xc2b2ae3d) ^ this.crc;
    lane = Math.imul(lane ^ (lane >>> 15), 0x85ebca77);
    lane ^= lane >>> 13;
    return (lane >>> 11) * 2 ** 32 + this.crc;
  }
}

/** A value under a seed, both in [0, 2^53): another seed gives another number, and different values stay different. */
export function seeded(value: number, seed: number): number {
  const low = scrambled(value ^ seed);
  const high = Math.floor(value / 2 ** 32) ^ (scrambled(low ^ Math.floor(seed / 2 ** 32)) >>> 11);
  return high * 2 ** 32 + (low >>> 0);
}

/** The finalizer of MurmurHash3 (Austin Appleby, public domain): different numbers of 32 bits stay different. */
function scrambled(number: number): number {
  let bits = Math.imul(number ^ (number >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return bits ^ (bits >>> 16);
}

/** A value in [0, 2^53) in nine characters, six bits each: a sixth of the time that its digits take. */
export function shortText(value: number): string {
  const low = value >>> 0;
  const high = Math.floor(value / 2 ** 32);
  return String.fromCharCode(
    FIRST_CHARACTER + (high >>> 15),
    FIRST_CHARACTER + ((high >>> 9) & 63),
    FIRST_CHARACTER + ((high >>> 3) & 63),
    FIRST_CHARACTER + (((high & 7) << 2) | (low >>> 30)),
    FIRST_CHARACTER + ((low >>> 24) & 63),
    FIRST_CHARACTER + ((low >>> 18) & 63),
    FIRST_CHARACTER + ((low >>> 12) & 63),
    FIRST_CHARACTER + ((low >>> 6) & 63),
    FIRST_CHARACTER + (low & 63),
  );
}

/** `0`; the last is `o`. */
const FIRST_CHARACTER = 0x30;
