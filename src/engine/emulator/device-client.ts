import { connect, type Socket } from 'node:net';
import type { AttachResult, DeviceSnapshot, TakeResult } from '../device.js';
import type { DeviceHandle } from './device-host.js';
import { type DeviceCall, type DeviceReply, readMessages, writeMessage } from './device-wire.js';

/** A process's hold on a device that another process serves; `onLost` hears when the device goes away. */
export async function connectDevice(socketPath: string, onLost: () => void): Promise<DeviceHandle> {
  const socket = await new Promise<Socket>((resolve, reject) => {
    const opening = connect(socketPath, () => resolve(opening));
    opening.once('error', reject);
  });
  const waiting = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>();
  let nextId = 1;
  let closing = false;
  readMessages(socket, (message) => {
    const reply = message as DeviceReply;
    const caller = waiting.get(reply.id);
    waiting.delete(reply.id);
    if ('error' in reply) caller?.reject(new Error(reply.error));
    else caller?.resolve(reply.result);
  });
  socket.on('error', () => socket.destroy());
  socket.on('close', () => {
    for (const caller of waiting.values()) caller.reject(new Error('the device went away'));
    waiting.clear();
    if (!closing) onLost();
  });
  const call = (name: DeviceCall, ...args: readonly unknown[]): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (!socket.writable) return reject(new Error('the device went away'));
      const id = nextId++;
      waiting.set(id, { resolve, reject });
      writeMessage(socket, { id, call: name, args });
    });
  return {
    attach: async (request) => (await call('attach', request)) as AttachResult,
    take: async (kind, bytesPerGpu) => (await call('take', kind, bytesPerGpu)) as TakeResult,
    free: async (kind) => void (await call('free', kind)),
    pin: async (bytes) => (await call('pin', bytes)) as boolean,
    copy: async (direction, bytesPerGpu, maxBandwidth) =>
      void (await call('copy', direction, bytesPerGpu, maxBandwidth)),
    snapshot: async () => (await call('snapshot')) as DeviceSnapshot,
    close: () => {
      closing = true;
      socket.destroy();
    },
  };
}
