import type { Command } from 'commander';
import type { MaestroConfig } from '../config/schema.js';
import { EngineTls, type TlsFiles } from '../engine/vllm/engine-tls.js';
import type { Clock } from '../model/clock.js';
import { MaestroError } from '../model/error.js';
import type { Logger } from '../observe/log.js';

/** What the flags of {@link withTlsOptions} say. */
export interface TlsArguments {
  readonly cacert?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** The flags for servers at `https://` URLs, named as curl names them. */
export function withTlsOptions(command: Command): Command {
  return command
    .option('--cacert <file>', 'certificates (PEM) that sign those of servers at https:// URLs')
    .option('--cert <file>', 'certificate (PEM) for servers that ask for one')
    .option('--key <file>', 'its private key (PEM)');
}

/** Reads the files; undefined where none is named. Throws where they cannot be used. */
export function tlsOfArguments({ cacert, cert, key }: TlsArguments, clock: Clock, log?: Logger): EngineTls | undefined {
  if ((cert === undefined) !== (key === undefined))
    throw new MaestroError('invalid_request', '--cert and --key belong together: give both or none.');
  return openTls({ ca: cacert, cert, key }, clock, log);
}

/** The same from `fleet.tls` of a fleet file. */
export function tlsOfConfig({ fleet }: MaestroConfig, clock: Clock, log?: Logger): EngineTls | undefined {
  return openTls(fleet.tls ?? {}, clock, log);
}

function openTls(files: TlsFiles, clock: Clock, log: Logger | undefined): EngineTls | undefined {
  if (files.ca === undefined && files.cert === undefined) return undefined;
  return new EngineTls(files, clock, (err) =>
    log?.error(
      { err },
      'the new certificates for engines cannot be used; the former ones go on, and they are looked at again',
    ),
  );
}
