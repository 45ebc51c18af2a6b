import type { StagingSpec } from '../../model/fleet.js';
import { type Finding, ok, problem, warning } from './finding.js';
import { gib } from './host-checks.js';

/** Where copies of checkpoints are to lie. */
export interface StagingPlace {
  readonly ramDisk: boolean;
  /** What the file system has left, and what the host can still give to programs. */
  readonly freeBytes: number;
  readonly availableBytes: number;
}

/** An engine that can sleep, and the files of its checkpoint; undefined where its weights are not given as a folder. */
export interface StagedEngine {
  readonly engineId: string;
  readonly files: { readonly bytes: number } | { readonly reason: string } | undefined;
}

/** Will copies of checkpoints in RAM work on this host? */
export function checkStaging(
  nodeId: string,
  { folder, memoryBytes }: StagingSpec,
  { ramDisk, freeBytes, availableBytes }: StagingPlace,
  engines: readonly StagedEngine[],
): Finding[] {
  const findings: Finding[] = [];
  if (!ramDisk) {
    findings.push(
      warning(
        'staging',
        nodeId,
        `${folder} is on a disk, so copies there are read no faster than the files themselves`,
        'Name a folder of a RAM disk, such as /dev/shm/maestro.',
      ),
    );
  }
  const roomBytes = Math.min(freeBytes, availableBytes);
  if (memoryBytes > roomBytes) {
    findings.push(
      problem(
        'staging',
        nodeId,
        `copies of weights may take ${gib(memoryBytes)}; ${folder} has ${gib(freeBytes)} left and the host ${gib(availableBytes)} of RAM`,
        'Lower `staging.memory`, or enlarge the RAM disk (mount -o remount,size=… /dev/shm; --shm-size in a container).',
      ),
    );
  } else if (ramDisk) findings.push(ok('staging', nodeId, `${gib(memoryBytes)} of ${folder} for copies of weights`));
  for (const { engineId, files } of engines) findings.push(...checkFiles(engineId, files, memoryBytes));
  return findings;
}

function checkFiles(engineId: string, files: StagedEngine['files'], memoryBytes: number): Finding[] {
  if (files === undefined) {
    const fix = 'Give `launch.weights` as the folder of the checkpoint, not by its name.';
    return [
      warning('staging', engineId, 'its weights are named and not given as a folder, so they are not copied', fix),
    ];
  }
  if ('reason' in files) {
    const fix = 'Correct `launch.weights`; only checkpoints in safetensors files are copied.';
    return [problem('staging', engineId, `its weights cannot be copied: ${files.reason}`, fix)];
  }
  if (files.bytes <= memoryBytes) return [];
  const message = `its checkpoint takes ${gib(files.bytes)}, more than all copies may (${gib(memoryBytes)})`;
  return [warning('staging', engineId, message, 'Raise `staging.memory`, or do without a copy of it.')];
}
