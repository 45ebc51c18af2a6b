import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../model/clock.js';
import { EngineTls, type TlsFiles, trustFix } from './engine-tls.js';

const FIXTURES = join(import.meta.dirname, '../../../test/system/tls');
let folder: string;
let files: Required<TlsFiles>;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'maestro-tls-'));
  files = { ca: join(folder, 'ca.pem'), cert: join(folder, 'own.pem'), key: join(folder, 'own.key') };
  copyFileSync(join(FIXTURES, 'ca.pem'), files.ca!);
  own('maestro');
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function own(name: string): void {
  copyFileSync(join(FIXTURES, `${name}.pem`), files.cert!);
  copyFileSync(join(FIXTURES, `${name}.key`), files.key!);
}

function open(which: TlsFiles = files) {
  const clock = new ManualClock();
  const stale: string[] = [];
  return { clock, stale, tls: new EngineTls(which, clock, ({ message }) => stale.push(message)) };
}

describe('EngineTls', () => {
  it('takes renewed files for the next connection, a while after they have changed', () => {
    const { tls, clock } = open();
    const first = tls.context();
    own('engine');
    expect(tls.context()).toBe(first);
    clock.advance(10_000);
    const second = tls.context();
    expect(second).not.toBe(first);
    clock.advance(10_000);
    expect(tls.context()).toBe(second);
  });

  it.each([
    ['half of a pair', () => copyFileSync(join(FIXTURES, 'engine.pem'), files.cert!)],
    ['a file cut short', () => writeFileSync(files.key!, '-----BEGIN PRIVATE KEY-----\nMIGH')],
    ['a file gone', () => rmSync(files.cert!)],
  ])('goes on with the former ones over %s, and takes the next that are whole', (_what, spoil) => {
    const { tls, clock, stale } = open();
    const first = tls.context();
    spoil();
    clock.advance(10_000);
    expect(tls.context()).toBe(first);
    expect(stale).toHaveLength(1);
    own('engine');
    clock.advance(10_000);
    expect(tls.context()).not.toBe(first);
    expect(stale).toHaveLength(1);
  });

  it('says which file is missing, or not what it should be', () => {
    expect(() => open({ ca: join(folder, 'none.pem') })).toThrow(
      /Cannot read the file .*none\.pem, which should hold the certificates that sign those of engines \(ca\): ENOENT/,
    );
    writeFileSync(files.ca!, 'hello');
    expect(() => open()).toThrow(/ca\.pem should hold .* in PEM form, and does not/);
  });

  it('refuses a key that is not that of the certificate', () => {
    copyFileSync(join(FIXTURES, 'engine.key'), files.key!);
    expect(() => open()).toThrow(/cannot be used: .*mismatch.*the key that of the certificate/);
  });
});

describe('trustFix', () => {
  it.each([
    ['certificate has expired', 'valid now'],
    ["Hostname/IP does not match certificate's altnames: IP: 10.0.0.7 is not in the cert's list: ", 'subjectAltName'],
    ['SSL routines:ssl3_get_record:wrong version number', 'http://'],
    ['self-signed certificate in certificate chain', 'Name the authority'],
    ['other side closed before any answer; it may ask for a certificate', '--cacert, --cert and --key'],
  ])('after "%s" speaks of %s', (failure, fix) => {
    expect(trustFix(`GET /health: ${failure}`)).toContain(fix);
  });
});
