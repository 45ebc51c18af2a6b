import { createServer, type Server, type Socket } from 'node:net';
import type { DeviceHandle, DeviceHost } from './device-host.js';
import { DEVICE_CALLS, type DeviceRequest, readMessages, writeMessage } from './device-wire.js';

export interface DeviceServer {
  readonly socketPath: string;
  close(): Promise<void>;
}

/**
 * Shares a device with other processes over a Unix socket. A connection is a process: when it closes, however that came about, the
 * process has died and what it held is free.
 */
export async function serveDevice(host: DeviceHost, socketPath: string): Promise<DeviceServer> {
  const open = new Set<Socket>();
  const server: Server = createServer((socket) => {
    open.add(socket);
    const handle = host.open();
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      open.delete(socket);
      handle.close();
    });
    readMessages(socket, (message) => {
      const request = message as DeviceRequest;
      call(handle, request).then(
        (result) => writeMessage(socket, { id: request.id, result: result ?? null }),
        (error: unknown) => writeMessage(socket, { id: request.id, error: String(error) }),
      );
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, resolve);
  });
  return {
    socketPath,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}

async function call(handle: DeviceHandle, request: DeviceRequest): Promise<unknown> {
  if (!DEVICE_CALLS.includes(request.call)) throw new Error(`the device has no call "${request.call}"`);
  const method = handle[request.call] as (...args: readonly unknown[]) => Promise<unknown>;
  return method(...request.args);
}
