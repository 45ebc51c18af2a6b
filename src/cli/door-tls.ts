import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { RenewedFiles, readPem } from '../bus/renewed-files.js';
import type { MaestroConfig } from '../config/schema.js';
import type { DoorCredentials } from '../gateway/index.js';
import type { Clock } from '../model/clock.js';
import { MaestroError } from '../model/error.js';
import type { Logger } from '../observe/log.js';

type DoorFiles = NonNullable<MaestroConfig['gateway']['tls']>;

/** What the flags of `maestro up` say of TLS at the front door. */
export interface DoorTlsArguments {
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsClientCa?: string;
}

/** The config with what the flags say in place of its `gateway.tls`. */
export function withDoorTls(
  config: MaestroConfig,
  { tlsCert: cert, tlsKey: key, tlsClientCa: clientCa }: DoorTlsArguments,
): MaestroConfig {
  if (cert === undefined && key === undefined && clientCa === undefined) return config;
  if (cert === undefined || key === undefined)
    throw new MaestroError('invalid_request', '--tls-cert and --tls-key belong together, and --tls-client-ca to both.');
  const tls = { cert, key, ...(clientCa === undefined ? {} : { clientCa }) };
  return { ...config, gateway: { ...config.gateway, tls } };
}

/** The credentials of the front door, read again when their files have changed; undefined where it speaks no TLS. Throws where they cannot be used. */
export function doorCredentials(
  { gateway: { tls } }: MaestroConfig,
  clock: Clock,
  logger: Logger,
): RenewedFiles<DoorCredentials> | undefined {
  if (!tls) return undefined;
  let renewed = false;
  const read = () => {
    const { credentials, validTo } = readDoorFiles(tls);
    if (renewed) logger.info({ cert: tls.cert, validTo }, 'the front door has a new certificate');
    renewed = true;
    return credentials;
  };
  return new RenewedFiles([tls.cert, tls.key, tls.clientCa], read, clock, (err) =>
    logger.error(
      { err },
      'the new certificate of the front door cannot be used; the former one goes on, and the files are looked at again',
    ),
  );
}

interface DoorFilesRead {
  readonly credentials: DoorCredentials;
  /** Of the certificate, in words. */
  readonly validFrom: string;
  readonly validTo: string;
}

/** Reads the files and tries them out: each by itself first, so that what is said of it names its field. */
export function readDoorFiles({ cert, key, clientCa }: DoorFiles): DoorFilesRead {
  const pems = {
    cert: readPem(cert, 'the certificate of the front door (gateway.tls.cert)'),
    key: readPem(key, 'the private key of the front door (gateway.tls.key)'),
    ...(clientCa === undefined
      ? {}
      : { ca: readPem(clientCa, 'the certificates that sign those of clients (gateway.tls.clientCa)') }),
  };
  const { validFrom, validTo } = tried('cert', cert, () => new X509Certificate(pems.cert));
  tried('key', key, () => createSecureContext({ key: pems.key }));
  const { ca } = pems;
  if (ca) tried('clientCa', clientCa!, () => new X509Certificate(ca));
  tried('key', key, () => createSecureContext(pems), ` beside the certificate ${cert}`);
  return { credentials: pems, validFrom, validTo };
}

function tried<T>(field: keyof DoorFiles, path: string, use: () => T, beside = ''): T {
  try {
    return use();
  } catch (cause) {
    throw new MaestroError(
      'invalid_request',
      `gateway.tls.${field}: the file ${path} cannot be used${beside}: ${(cause as Error).message}.`,
      { cause },
    );
  }
}
