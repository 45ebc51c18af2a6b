import type { Socket } from 'node:net';

/** Kinds of ZeroMQ socket that KV events travel between. */
export type ZmtpSocketType = 'PUB' | 'SUB' | 'ROUTER' | 'DEALER';

const GREETING = Buffer.alloc(64);
GREETING[0] = 0xff;
GREETING[9] = 0x7f;
// Version 3.0, in which subscriptions are messages.
GREETING[10] = 3;
GREETING.write('NULL', 12, 'latin1');

const MORE = 1;
const LONG = 2;
const COMMAND = 4;

export interface ZmtpListener {
  /** The handshake is over: messages may be sent. */
  ready?(connection: ZmtpConnection): void;
  message(frames: readonly Buffer[], connection: ZmtpConnection): void;
  closed?(connection: ZmtpConnection): void;
}

/** One connection of ZMTP 3.0, the protocol of ZeroMQ, without security: https://rfc.zeromq.org/spec/23/. Both sides of it are alike. */
export class ZmtpConnection {
  private rest: Buffer = Buffer.alloc(0);
  private greeted = false;
  private frames: Buffer[] = [];

  constructor(
    private readonly socket: Socket,
    type: ZmtpSocketType,
    private readonly listener: ZmtpListener,
  ) {
    socket.setNoDelay(true);
    socket.write(GREETING);
    socket.write(frame(ready(type), COMMAND));
    socket.on('data', (chunk) => {
      this.rest = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
      this.read();
    });
    socket.on('error', () => socket.destroy());
    socket.once('close', () => listener.closed?.(this));
  }

  /** Bytes that the peer has not taken yet. */
  get backlogBytes(): number {
    return this.socket.writableLength;
  }

  send(frames: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(frames.map((body, index) => frame(body, index < frames.length - 1 ? MORE : 0))));
  }

  close(): void {
    this.socket.destroy();
  }

  private read(): void {
    if (!this.greeted) {
      if (this.rest.length < GREETING.length) return;
      this.rest = this.rest.subarray(GREETING.length);
      this.greeted = true;
    }
    for (;;) {
      const flags = this.rest[0];
      if (flags === undefined) return;
      const headBytes = flags & LONG ? 9 : 2;
      if (this.rest.length < headBytes) return;
      const size = flags & LONG ? Number(this.rest.readBigUInt64BE(1)) : this.rest[1]!;
      if (this.rest.length < headBytes + size) return;
      const body = this.rest.subarray(headBytes, headBytes + size);
      this.rest = this.rest.subarray(headBytes + size);
      if (flags & COMMAND) {
        if (body.toString('latin1', 1, 6) === 'READY') this.listener.ready?.(this);
        continue;
      }
      this.frames.push(body);
      if (flags & MORE) continue;
      const whole = this.frames;
      this.frames = [];
      this.listener.message(whole, this);
    }
  }
}

function ready(type: ZmtpSocketType): Buffer {
  const property = (name: string, value: string) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(value.length);
    return Buffer.concat([Buffer.from([name.length]), Buffer.from(name), length, Buffer.from(value)]);
  };
  return Buffer.concat([Buffer.from('\u0005READY'), property('Socket-Type', type), property('Identity', '')]);
}

function frame(body: Buffer, flags: number): Buffer {
  if (body.length < 256) return Buffer.concat([Buffer.from([flags, body.length]), body]);
  const head = Buffer.alloc(9);
  head[0] = flags | LONG;
  head.writeBigUInt64BE(BigInt(body.length), 1);
  return Buffer.concat([head, body]);
}
