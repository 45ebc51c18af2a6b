import { X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import { buildConnector } from 'undici';
import { RenewedFiles, readPem } from '../../bus/renewed-files.js';
import type { Clock } from '../../model/clock.js';
import { MaestroError } from '../../model/error.js';

/** Files in PEM form with which connections to engines at `https://` URLs are made. */
export interface TlsFiles {
  /** Certificates that sign those of the engines. Absent: those that Node trusts. */
  readonly ca?: string | undefined;
  /** Shown to an engine that asks for it. Both or none. */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

/** How connections to engines prove who is at either end. Files that change are read again, so that renewed certificates need no restart. */
export class EngineTls {
  private readonly credentials: RenewedFiles<Credentials>;

  /**
   * @param onStale Told when files that have changed cannot be used; the former ones go on.
   * @throws MaestroError where a file cannot be read, or does not hold what it should.
   */
  constructor(files: TlsFiles, clock: Clock, onStale: (error: MaestroError) => void) {
    const { ca, cert, key } = files;
    this.credentials = new RenewedFiles([ca, cert, key], () => readCredentials(files), clock, onStale);
  }

  /** For the next connection. */
  context(): SecureContext {
    return this.credentials.current().context;
  }

  /** The certificate that engines are shown, in words; undefined where none is. */
  shown(): string | undefined {
    return this.credentials.current().shown;
  }
}

/** What undici connects with. `options` are those of a connection without TLS, too. */
export function connectorWith(
  tls: EngineTls | undefined,
  options: buildConnector.BuildOptions,
): buildConnector.BuildOptions | buildConnector.connector {
  if (!tls) return options;
  return (target, callback) => buildConnector({ ...options, secureContext: tls.context() })(target, callback);
}

/** Is the failure one of the two ends not trusting each other? */
export function isTlsFailure(code: string | undefined): boolean {
  return code !== undefined && /^(ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|(DEPTH_ZERO_)?SELF_SIGNED_CERT)/.test(code);
}

/**
 * What to do about two ends that do not trust each other.
 *
 * @param failure What the failed call says of it.
 */
export function trustFix(failure: string): string {
  if (/has expired|not yet valid/.test(failure))
    return 'Give the server a certificate that is valid now; if it has one, look at the clocks of both hosts.';
  if (/altnames/.test(failure))
    return 'Put a name or address that its certificate holds into the URL, or give the server a certificate that holds this one (subjectAltName).';
  if (/wrong version number|packet length too long/.test(failure))
    return 'Nothing speaks TLS there: write http:// in its URL.';
  if (failure.includes(NOT_ACCEPTED))
    return 'Show it a certificate that is valid now and signed by an authority that it knows (--ssl-ca-certs).';
  return 'Name the authority that signs its certificate, and where it asks for a certificate (--ssl-cert-reqs) ours: fleet.tls in a fleet file, or --cacert, --cert and --key beside --vllm.';
}

/** Stands in failures after which our own certificate is the first to look at. */
export const NOT_ACCEPTED = 'it may not accept the certificate that it was shown';

interface Credentials {
  readonly context: SecureContext;
  readonly shown: string | undefined;
}

function readCredentials({ ca, cert, key }: TlsFiles): Credentials {
  const pems = {
    ...(ca === undefined ? {} : { ca: readPem(ca, 'the certificates that sign those of engines (ca)') }),
    ...(cert === undefined ? {} : { cert: readPem(cert, 'the certificate that engines are shown (cert)') }),
    ...(key === undefined ? {} : { key: readPem(key, 'the private key of that certificate (key)') }),
  };
  try {
    return { context: createSecureContext(pems), shown: cert === undefined ? undefined : inWords(cert, pems.cert!) };
  } catch (cause) {
    const names = [ca, cert, key].filter((name) => name !== undefined).join(', ');
    throw new MaestroError(
      'invalid_request',
      `The files for TLS to engines (${names}) cannot be used: ${(cause as Error).message}. They should be in PEM form, and the key that of the certificate.`,
      { cause },
    );
  }
}

function inWords(path: string, pem: Buffer): string {
  const { validFrom, validTo } = new X509Certificate(pem);
  return `${path}, valid from ${validFrom} to ${validTo}`;
}
