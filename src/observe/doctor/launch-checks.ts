import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';
import { type Finding, ok, problem } from './finding.js';

/** How Maestro would start an engine. */
export interface PlannedLaunch {
  /** Program and its first arguments, such as `['vllm', 'serve']`. */
  readonly program: readonly string[];
  /** Folder or Hugging Face id of the weights. */
  readonly weights: string;
  /** Command that brings them there. */
  readonly fetch?: readonly string[] | undefined;
}

/** What this host has of a launch. */
export interface LaunchProbe extends PlannedLaunch {
  readonly programFound: boolean;
  /** Undefined where the weights are named by their id. */
  readonly weightsFound: boolean | undefined;
  readonly fetchFound: boolean;
}

/** An engine that does not run, and that Maestro starts: could it? */
export function checkLaunch(
  engineId: string,
  url: string,
  { program, weights, fetch, programFound, weightsFound, fetchFound }: LaunchProbe,
): Finding[] {
  const findings: Finding[] = [];
  if (!programFound) {
    const message = `${program[0]} is not a program of this host, so Maestro cannot start the engine`;
    findings.push(problem('launch', engineId, message, 'Install vLLM, or correct `launch.program`.'));
  }
  if (fetch && !fetchFound) {
    const message = `${fetch[0]} is not a program of this host, so Maestro cannot fetch the weights`;
    findings.push(problem('launch', engineId, message, 'Install it, or correct `launch.fetch`.'));
  }
  if (weightsFound === false && !fetch) {
    findings.push(problem('launch', engineId, `${weights} is not a folder`, 'Correct `launch.weights`.'));
  }
  if (findings.length > 0) return findings;
  const first = weightsFound === false ? `fetches its weights (${fetch!.join(' ')}) and ` : '';
  const command = `${program.join(' ')} ${weights}`;
  return [ok('launch', engineId, `nothing answers at ${url} yet; Maestro ${first}starts it: ${command}`)];
}

export async function probeLaunch({ program, weights, fetch }: PlannedLaunch): Promise<LaunchProbe> {
  const isFolder = (path: string) =>
    stat(path).then(
      (entry) => entry.isDirectory(),
      () => false,
    );
  return {
    ...{ program, weights, fetch },
    programFound: await isProgram(program[0] ?? ''),
    weightsFound: isAbsolute(weights) ? await isFolder(weights) : undefined,
    fetchFound: fetch !== undefined && (await isProgram(fetch[0] ?? '')),
  };
}

/** Would a shell find it? */
export async function isProgram(name: string): Promise<boolean> {
  const places = name.includes('/') ? [name] : (process.env['PATH'] ?? '').split(delimiter).map((at) => join(at, name));
  const runs = await Promise.all(
    places.map((path) =>
      access(path, constants.X_OK).then(
        () => true,
        () => false,
      ),
    ),
  );
  return runs.includes(true);
}
