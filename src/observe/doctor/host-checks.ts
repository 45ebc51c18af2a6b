import type { HostReading } from '../../engine/telemetry/host.js';
import { type Finding, ok, problem, warning } from './finding.js';

const HOST = 'host';
const GIB = 1024 ** 3;

/** Oldest Node that the product is tested with. */
const MIN_NODE = [20, 19] as const;

/** A stream holds a socket to its client and one to its engine. */
const FILES_PER_STREAM = 2;
/** Open streams that a gateway should be able to hold. */
const WANTED_STREAMS = 10_000;

export function checkNodeVersion(version: string): Finding {
  const [major = 0, minor = 0] = version.replace(/^v/, '').split('.').map(Number);
  if (major > MIN_NODE[0] || (major === MIN_NODE[0] && minor >= MIN_NODE[1]))
    return ok('node', HOST, `Node ${version}`);
  return problem(
    'node',
    HOST,
    `Node ${version} is older than ${MIN_NODE.join('.')}`,
    `Install Node ${MIN_NODE.join('.')} or later.`,
  );
}

/** @param loaded The version of ONNX Runtime that was loaded, or why it could not be. */
export function checkOnnx(loaded: { readonly version: string } | { readonly reason: string }): Finding {
  if ('version' in loaded) {
    return ok(
      'onnx',
      HOST,
      `ONNX Runtime ${loaded.version} checks model files; single calls run on the TypeScript evaluator`,
    );
  }
  return warning(
    'onnx',
    HOST,
    `ONNX Runtime is not usable (${loaded.reason}); the predictors run on the TypeScript evaluator, with the same results`,
    'Nothing must be done. To use it: npm install onnxruntime-node (on Linux behind a proxy with ONNXRUNTIME_NODE_INSTALL=skip).',
  );
}

/** @param limits The text of `/proc/self/limits`; undefined where there is none. */
export function checkOpenFiles(limits: string | undefined): Finding {
  const match = limits === undefined ? undefined : /^Max open files\s+(\S+)/m.exec(limits);
  if (!match) return ok('open-files', HOST, 'the limit of open files is not known on this system');
  const soft = match[1] === 'unlimited' ? Number.POSITIVE_INFINITY : Number(match[1]);
  const wanted = FILES_PER_STREAM * WANTED_STREAMS;
  if (soft >= wanted)
    return ok('open-files', HOST, `${soft} open files allow ${Math.floor(soft / FILES_PER_STREAM)} open streams`);
  return warning(
    'open-files',
    HOST,
    `${soft} open files allow only about ${Math.floor(soft / FILES_PER_STREAM)} open streams`,
    `Raise it: ulimit -n ${2 ** 16} in the shell, LimitNOFILE=${2 ** 16} in a systemd unit.`,
  );
}

const LOW_DISK_BYTES = GIB;
/** Of the memory of the host. */
const MOST_SWAPPED = 0.05;

/**
 * @param neededBytes Weights of all engines here that can sleep: at level 1 they lie in host memory.
 * @param statedBytes What the fleet file lets all of them take; Infinity where it does not say.
 */
export function checkHostMemory(
  { memoryTotalBytes, memoryAvailableBytes, memoryLimit }: HostReading,
  neededBytes: number,
  statedBytes = Number.POSITIVE_INFINITY,
): Finding {
  const mostBytes = memoryLimit?.limitBytes ?? memoryTotalBytes;
  const availableBytes = Math.min(memoryAvailableBytes, memoryLimit?.availableBytes ?? memoryAvailableBytes);
  const has = memoryLimit
    ? `the control group that Maestro runs in (a container, or a unit of systemd) may take ${gib(mostBytes)} of the ${gib(memoryTotalBytes)} of this host`
    : `this host has ${gib(mostBytes)}`;
  const more = memoryLimit ? 'raise its limit (--memory of a container, MemoryMax of a unit)' : 'add memory';
  if (Number.isFinite(statedBytes) && statedBytes > mostBytes) {
    return problem(
      'host-memory',
      HOST,
      `the fleet file counts on ${gib(statedBytes)} of host memory, ${has}`,
      `Give \`hostMemory\` a value that fits, or ${more}: weights that do not find room at level 1 are then read from disk again.`,
    );
  }
  if (Number.isFinite(statedBytes) && neededBytes > statedBytes) {
    return warning(
      'host-memory',
      HOST,
      `the weights of the engines that can sleep are ${gib(neededBytes)}, \`hostMemory\` lets them take ${gib(statedBytes)}: some drop their weights asleep and wake slowly`,
      'Raise `hostMemory` if the host has more, or set `staging`, which keeps copies of the dropped weights in RAM.',
    );
  }
  if (neededBytes > mostBytes) {
    return problem(
      'host-memory',
      HOST,
      `the weights of the engines that can sleep are ${gib(neededBytes)}, ${has}`,
      `Let fewer engines sleep (\`sleep: false\`), give \`hostMemory\` a value that fits, or ${more}.`,
    );
  }
  if (neededBytes > availableBytes) {
    return warning(
      'host-memory',
      HOST,
      `the weights of the engines that can sleep are ${gib(neededBytes)}, of which ${gib(availableBytes)} are available now`,
      'Look what else uses memory on this host before engines are put to sleep.',
    );
  }
  return ok('host-memory', HOST, `${gib(availableBytes)} of host memory available, ${has}`);
}

export function checkSwap({ swapUsedBytes, memoryTotalBytes }: HostReading): Finding[] {
  if (swapUsedBytes <= MOST_SWAPPED * memoryTotalBytes) return [];
  return [
    warning(
      'swap',
      HOST,
      `${gib(swapUsedBytes)} are swapped out; a wake from swapped weights takes minutes`,
      'Turn swap off on GPU hosts (swapoff -a), or set vm.swappiness=1.',
    ),
  ];
}

export function checkDisks({ disks }: HostReading): Finding[] {
  return disks.flatMap(({ mount, freeBytes }) =>
    freeBytes >= LOW_DISK_BYTES || mount.startsWith('/boot')
      ? []
      : warning(
          'disk',
          HOST,
          `${mount} has ${gib(freeBytes)} left`,
          'Make room: logs, decision logs and model files go there.',
        ),
  );
}

export function gib(bytes: number): string {
  return `${(bytes / GIB).toFixed(1)} GiB`;
}
