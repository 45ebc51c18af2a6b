import { execSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const changedMs = (path: string) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;

/** Before the first test with processes of its own: builds what those run, unless nothing has changed since the last build. */
export function setup(): void {
  const sources = ['src', 'sim', 'traces'].flatMap((folder) =>
    ['.', ...readdirSync(join(ROOT, folder), { encoding: 'utf8', recursive: true })].map((path) => join(folder, path)),
  );
  const newestMs = Math.max(
    ...[...sources, 'package.json', 'tsconfig.json', 'tsconfig.build.json'].map((path) => changedMs(join(ROOT, path))),
  );
  if (changedMs(join(ROOT, 'dist/build.tsbuildinfo')) < newestMs)
    execSync('npm run --silent build', { cwd: ROOT, stdio: 'inherit' });
}
