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
}

/** What this host has of a launch. */
export interface LaunchProbe extends PlannedLaunch {
  readonly programFound: boolean;
  /** Undefined where the weights are named by their id. */
  readonly weightsFound: boolean | undefined;
}

/** An engine that does not run, and that Maestro starts: could it? */
export function checkLaunch(
  engineId: string,
  url: string,
  { program, weights, programFound, weightsFound }: LaunchProbe,
): Finding[] {
  const findings: Finding[] = [];
  if (!programFound) {
    const message = `${program[0]} is not a program of this host, so Maestro cannot start the engine`;
    findings.push(problem('launch', engineId, message, 'Install vLLM, or correct `launch.program`.'));
  }
  if (weightsFound === false) {
    findings.push(problem('launch', engineId, `${weights} is not a folder`, 'Correct `launch.weights`.'));
  }
  if (findings.length > 0) return findings;
  return [ok('launch', engineId, `nothing answers at ${url} yet; Maestro starts it: ${program.join(' ')} ${weights}`)];
}

export async function probeLaunch({ program, weights }: PlannedLaunch): Promise<LaunchProbe> {
  const isFolder = (path: string) =>
    stat(path).then(
      (entry) => entry.isDirectory(),
      () => false,
    );
  return {
    ...{ program, weights },
    programFound: await isProgram(program[0] ?? ''),
    weightsFound: isAbsolute(weights) ? await isFolder(weights) : undefined,
  };
}

async function isProgram(name: string): Promise<boolean> {
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
