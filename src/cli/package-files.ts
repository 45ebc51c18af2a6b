import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of this installation: the nearest one upwards with a package.json, from the source or from the build. */
function packageRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder;
    if (folder === dirname(folder)) throw new Error('this installation has no package.json');
  }
}

export function packageVersion(): string {
  return (JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string }).version;
}

/** The fleet of the demo, which `maestro up` serves when it is given none. */
export function demoFleetPath(): string {
  return join(packageRoot(), 'deploy', 'demo-fleet.yaml');
}

/** The workload of the demo. */
export function demoTracePath(): string {
  return join(packageRoot(), 'traces', 'data', 'demo.jsonl.gz');
}

/** The model that serves where no other is given. */
export function defaultModelPath(): string {
  return join(packageRoot(), 'models', 'default');
}

/** The model that a config or an option names; undefined for `none`. */
export function modelPathOf(name: string): string | undefined {
  if (name === 'none') return undefined;
  return name === 'default' ? defaultModelPath() : name;
}
