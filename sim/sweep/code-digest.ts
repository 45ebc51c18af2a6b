import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What results of a run depend on, in the source as in the build. */
const ROOMS = ['sim', 'src', 'traces'];
const CODE = /(?<!\.test|-fixture)\.(?:ts|js)$/;

let known: string | undefined;

/** A digest of the code that plays runs: whoever has changed an ordering policy must not be shown the runs of the old one. */
export function codeDigest(): string {
  known ??= digestOf(join(dirname(fileURLToPath(import.meta.url)), '..', '..'));
  return known;
}

function digestOf(root: string): string {
  const digest = createHash('sha256');
  for (const room of ROOMS) {
    const names = readdirSync(join(root, room), { recursive: true, encoding: 'utf8' });
    for (const name of names.filter((each) => CODE.test(each)).sort()) {
      digest.update(`${room}/${name}\n`).update(readFileSync(join(root, room, name)));
    }
  }
  return digest.digest('hex');
}
