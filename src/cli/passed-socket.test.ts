import { expect, it } from 'vitest';
import { readSocketAddress, takePassedSocket } from './passed-socket.js';

it.each([
  ['0100007F:1F90', '127.0.0.1', 8080],
  ['00000000:0050', '0.0.0.0', 80],
  ['00000000000000000000000000000000:1F90', '::', 8080],
  ['00000000000000000000000001000000:1F90', '::1', 8080],
  ['B80D01200000000000000000010000FE:0001', '2001:db8::fe00:1', 1],
])('%s is %s, port %d', (written, host, port) => {
  expect(readSocketAddress(written, 'LE')).toEqual({ host, port });
});

it('reads the addresses of big-endian machines', () => {
  expect(readSocketAddress('7F000001:1F90', 'BE')).toEqual({ host: '127.0.0.1', port: 8080 });
});

it('takes nothing that is meant for another process, and leaves nothing of it to those that it starts', () => {
  const environment = { LISTEN_PID: String(process.pid + 1), LISTEN_FDS: '1', LISTEN_FDNAMES: 'x', OTHER: 'stays' };
  expect(takePassedSocket(environment)).toBeUndefined();
  expect(environment).toEqual({ OTHER: 'stays' });
});

it.each([
  ['2', /2 sockets were passed/],
  ['1', /not one that listens on a TCP port/],
])('says what is wrong with %s of which none listens', (fds, message) => {
  expect(() => takePassedSocket({ LISTEN_PID: String(process.pid), LISTEN_FDS: fds })).toThrow(message);
});
