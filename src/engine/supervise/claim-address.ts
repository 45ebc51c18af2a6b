import { once } from 'node:events';
import { rmSync, statSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { dirname } from 'node:path';
import { engineAddress } from '../../model/engine-address.js';
import { systemCodeOf } from '../../model/error.js';
import { makeFolder } from '../../observe/make-folder.js';

/**
 * Makes sure that a server can begin to listen at `url`. A socket that a killed process has left behind is removed, because vLLM does not listen where a file is
 * already; the folder of a socket is made, for this user alone. Throws where another process listens or the socket cannot be.
 */
export async function claimAddress(url: string): Promise<void> {
  const { host, port, socketPath } = engineAddress(url);
  const free = socketPath === undefined ? await portIsFree(host, port) : await socketIsFree(socketPath);
  if (free) return;
  const fix = socketPath === undefined ? 'free the port or choose another `url`' : 'end it or choose another `url`';
  throw new Error(`${url} is in use by another process; ${fix}`);
}

async function portIsFree(host: string, port: number): Promise<boolean> {
  const probe = createServer();
  try {
    probe.listen({ host, port, exclusive: true });
    await once(probe, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    probe.close();
  }
}

async function socketIsFree(path: string): Promise<boolean> {
  makeFolder(dirname(path), 0o700);
  const entry = statSync(path, { throwIfNoEntry: false });
  if (!entry) return true;
  if (!entry.isSocket()) throw new Error(`${path} exists and is no socket; choose another \`url\``);
  const probe = connect(path);
  try {
    await once(probe, 'connect');
    return false;
  } catch (error) {
    // Only this is certain: there is a socket and nobody listens.
    if (systemCodeOf(error) !== 'ECONNREFUSED') return false;
    rmSync(path, { force: true });
    return true;
  } finally {
    probe.destroy();
  }
}
