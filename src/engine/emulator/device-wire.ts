import type { Socket } from 'node:net';

/** Names of the calls that cross the socket: the methods of a {@link DeviceHandle}, save `close`, which is the connection's end. */
export const DEVICE_CALLS = ['attach', 'take', 'free', 'pin', 'copy', 'snapshot'] as const;
export type DeviceCall = (typeof DEVICE_CALLS)[number];

export interface DeviceRequest {
  readonly id: number;
  readonly call: DeviceCall;
  readonly args: readonly unknown[];
}

export type DeviceReply =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: string };

export function writeMessage(socket: Socket, message: DeviceRequest | DeviceReply): void {
  if (socket.writable) socket.write(`${JSON.stringify(message)}\n`);
}

/** Calls `onMessage` for every line of JSON that comes over the socket. */
export function readMessages(socket: Socket, onMessage: (message: unknown) => void): void {
  let pending = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => {
    pending += chunk;
    for (let end = pending.indexOf('\n'); end >= 0; end = pending.indexOf('\n')) {
      const line = pending.slice(0, end);
      pending = pending.slice(end + 1);
      onMessage(JSON.parse(line));
    }
  });
}
