import type { ClientRequest } from './client-answer.js';
import type { RoomPool } from './room-pool.js';

/** Up to this size a copy of a body is cheap, and small buffers come from Node's pool. */
const SMALL_BODY_BYTES = 4096;
/** Free bytes behind a larger body, for the values that are put into it. */
const SLACK_BYTES = 512;

export interface BodyReceiver {
  /** False once nobody waits for the body any more; the rest is then thrown away. */
  wanted(): boolean;
  /** The whole body, which lies at the beginning of `room`; `pooled` when that is to go back to the pool. */
  onBody(body: Buffer, room: Buffer, pooled: boolean): void;
  onTooLarge(): void;
  /** So many bytes have come of a body whose length was not announced. */
  onUnannounced(bytes: number): void;
}

/** Collects a request body. One of an announced length (0: not announced) is put together in one buffer as it comes. */
export function readBody(
  req: ClientRequest,
  announcedBytes: number,
  limitBytes: number,
  rooms: RoomPool,
  receiver: BodyReceiver,
): void {
  const room = announcedBytes > SMALL_BODY_BYTES ? rooms.take(announcedBytes + SLACK_BYTES) : undefined;
  const pieces: Buffer[] = [];
  let bytes = 0;
  req.takeBody({
    onPiece: (piece) => {
      if (!receiver.wanted()) return;
      if (bytes + piece.length > limitBytes) return receiver.onTooLarge();
      if (room) piece.copy(room, bytes);
      else pieces.push(piece);
      bytes += piece.length;
      if (announcedBytes === 0) receiver.onUnannounced(bytes);
    },
    onBodyEnd: () => {
      if (!receiver.wanted()) return;
      if (room) return receiver.onBody(room.subarray(0, bytes), room, true);
      const body = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces, bytes);
      receiver.onBody(body, body, false);
    },
  });
}
