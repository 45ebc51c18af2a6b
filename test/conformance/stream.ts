import { connect, type Socket } from 'node:net';
import type { Target } from './target.js';

/** A request whose answer is looked at while it comes. */
export class OpenRequest {
  private readonly socket: Socket;
  private received = '';
  private over = false;
  private readonly watchers = new Set<() => void>();

  constructor(target: Target, path: string, body: object, headers: Readonly<Record<string, string>> = {}) {
    const { hostname, port } = new URL(target.url);
    const text = JSON.stringify(body);
    const head = [
      `POST ${path} HTTP/1.1`,
      'Host: 127.0.0.1',
      'Connection: close',
      'Content-Type: application/json',
      `Content-Length: ${Buffer.byteLength(text)}`,
      ...(target.apiKey === undefined ? [] : [`Authorization: Bearer ${target.apiKey}`]),
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ];
    this.socket = connect(Number(port), hostname, () => this.socket.write(`${head.join('\r\n')}\r\n\r\n${text}`));
    this.socket.on('data', (chunk) => {
      this.received += chunk.toString('latin1');
      this.changed();
    });
    const close = () => {
      this.over = true;
      this.changed();
    };
    this.socket.on('end', close).on('close', close).on('error', close);
  }

  /** Everything so far, chunk framing and all. */
  get text(): string {
    return this.received;
  }

  get ended(): boolean {
    return this.over;
  }

  /** `data:` frames so far, `[DONE]` included. */
  get frames(): string[] {
    return [...this.received.matchAll(/^data: (.*)$/gm)].map(([, data]) => data!);
  }

  /** Waits until it holds; the test's own timeout bounds it. */
  async until(holds: (request: OpenRequest) => boolean): Promise<this> {
    while (!holds(this)) {
      if (this.over) throw new Error(`the answer ended first: ${this.received.slice(-300)}`);
      await new Promise<void>((resolve) => this.watchers.add(resolve));
    }
    return this;
  }

  async end(): Promise<this> {
    while (!this.over) await new Promise<void>((resolve) => this.watchers.add(resolve));
    return this;
  }

  /** The client leaves. */
  leave(): void {
    this.socket.destroy();
  }

  private changed(): void {
    for (const watcher of this.watchers) watcher();
    this.watchers.clear();
  }
}
