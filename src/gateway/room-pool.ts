/** Sizes are powers of two between these; smaller buffers are cheap, larger ones rare. */
const MIN_BYTES = 8 * 1024;
const MAX_BYTES = 1024 * 1024;
/** Most bytes that lie idle here. */
const MAX_IDLE_BYTES = 16 * 1024 * 1024;

/**
 * Buffers for request bodies, used again and again: memory outside the heap that is left to the garbage collector at a high rate makes it
 * run full collections. A buffer must only be given back when nobody can read or write it any more.
 */
export class RoomPool {
  private readonly idle = new Map<number, Buffer[]>();
  private idleBytes = 0;

  /** A buffer of at least `bytes`, with arbitrary content. */
  take(bytes: number): Buffer {
    if (bytes > MAX_BYTES) return Buffer.allocUnsafeSlow(bytes);
    const size = sizeFor(bytes);
    const buffer = this.idle.get(size)?.pop();
    if (!buffer) return Buffer.allocUnsafeSlow(size);
    this.idleBytes -= size;
    return buffer;
  }

  /** Takes back a whole buffer that came from {@link take}. */
  give(buffer: Buffer): void {
    const size = buffer.length;
    if (size > MAX_BYTES || size !== sizeFor(size) || this.idleBytes + size > MAX_IDLE_BYTES) return;
    const same = this.idle.get(size);
    if (same) same.push(buffer);
    else this.idle.set(size, [buffer]);
    this.idleBytes += size;
  }
}

function sizeFor(bytes: number): number {
  let size = MIN_BYTES;
  while (size < bytes) size *= 2;
  return size;
}
