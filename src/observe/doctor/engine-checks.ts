import type { CallFailure } from '../../engine/vllm/client.js';
import type { DiscoveredEngine } from '../../engine/vllm/discover.js';
import { trustFix } from '../../engine/vllm/engine-tls.js';
import { engineAddress, isLoopback } from '../../model/engine-address.js';
import type { EngineSpec } from '../../model/fleet.js';
import { type Finding, ok, problem, warning } from './finding.js';
import { checkLaunch, type LaunchProbe } from './launch-checks.js';

interface NoAnswer {
  readonly reason: string;
  readonly status?: number | undefined;
  readonly kind?: CallFailure['kind'];
}

/** What was seen of an engine. */
export interface EngineProbe {
  readonly spec: EngineSpec;
  /** What it tells of itself, or why it does not. */
  readonly found: DiscoveredEngine | NoAnswer;
  /** Processes that were seen to answer at its URL. Default: one. */
  readonly servers?: number;
  /** Whether it is sent an API key. Default: none. */
  readonly hasKey?: boolean;
  /** Addresses, other than loopback, at which its development endpoints answer whoever asks; or its socket, where all may write to it. */
  readonly exposedAt: readonly string[];
  /** Where Maestro starts it. */
  readonly launch?: LaunchProbe | undefined;
}

/** vLLM versions whose behaviour the conformance suite has been run against. */
const KNOWN_VERSIONS = ['0.29', '0.32'];

export function checkEngine({ spec, found, exposedAt, launch, hasKey = false, servers = 1 }: EngineProbe): Finding[] {
  const subject = spec.engineId;
  if ('reason' in found) return checkUnreachable(subject, spec.url, found, launch, hasKey);
  const findings = [
    ok(
      'reachable',
      subject,
      `${spec.url} serves ${[...found.modelNames, ...found.adapters].join(', ')} (vLLM ${found.version ?? '?'})`,
    ),
  ];
  if (found.maxLoras !== undefined && found.maxLoras < found.adapters.length) {
    findings.push(
      warning(
        'adapters',
        subject,
        `a batch has calls of ${found.maxLoras} of its ${found.adapters.length} adapters at most; those of others wait inside it`,
        'Start it with a larger --max-loras, if the GPU has the memory.',
      ),
    );
  }
  const missing = (spec.adapters ?? []).filter((name) => !found.adapters.includes(name));
  if (missing.length > 0) {
    findings.push(
      problem(
        'adapters',
        subject,
        `it has no adapter ${missing.join(', ')}, which the config names`,
        'Start it with --enable-lora and --lora-modules NAME=PATH …, load them (/v1/load_lora_adapter), or take them out of `adapters`.',
      ),
    );
  }
  if (servers > 1) {
    findings.push(
      problem(
        'servers',
        subject,
        `${servers} servers answer at ${spec.url} in turn, as behind a load balancer: what one of them tells is taken for all`,
        'Name each server by a URL of its own; Maestro spreads requests over them.',
      ),
    );
  }
  const { version } = found;
  if (version !== undefined && !KNOWN_VERSIONS.some((known) => version.startsWith(`${known}.`))) {
    findings.push(
      warning(
        'version',
        subject,
        `vLLM ${version} has not been tried; ${KNOWN_VERSIONS.join(' and ')} have`,
        'Run the conformance suite against it: MAESTRO_VLLM_URL=URL npm run test:conformance.',
      ),
    );
  }
  if (spec.model !== '' && !found.modelNames.includes(spec.model)) {
    findings.push(
      problem(
        'model',
        subject,
        `it serves ${found.modelNames.join(', ')}, the config says ${spec.model}`,
        'Set `servedName` to a name that it serves, or start it with --served-model-name.',
      ),
    );
  }
  findings.push(
    ...checkRanks(subject, spec, found),
    ...checkSleep(subject, spec, found),
    ...checkExposure(subject, spec, found, exposedAt),
  );
  if (found.schedulingPolicy === 'fcfs') {
    findings.push(
      warning(
        'priority',
        subject,
        'it schedules first come, first served, so the order of what waits inside it is not ours',
        'Start it with --scheduling-policy priority.',
      ),
    );
  }
  return findings;
}

/** Why it cannot be asked; of one that Maestro starts, what would come of that. */
function checkUnreachable(
  subject: string,
  url: string,
  { reason, status, kind }: NoAnswer,
  launch: LaunchProbe | undefined,
  hasKey: boolean,
): Finding[] {
  const unreachable = (what: string, fix: string) => [problem('reachable', subject, what, fix)];
  if (status === 401 || status === 403) {
    return unreachable(
      `${url} ${hasKey ? 'refuses the API key that it is sent' : 'asks for an API key'}: ${reason}`,
      `Give its key: ${hasKey ? 'correct ' : ''}apiKeyEnv or apiKeyFile of the engine in a fleet file, or --api-key-env NAME beside --vllm.`,
    );
  }
  if (kind === 'tls') {
    return unreachable(`${url} and Maestro do not trust each other: ${reason}`, trustFix(reason));
  }
  if (launch && status === undefined) return checkLaunch(subject, url, launch);
  return unreachable(
    `${url} does not answer: ${reason}`,
    'Start the server, or correct `url`. A vLLM that loads its model listens only when it is done.',
  );
}

/** An engine of which only the URL is known is taken as it is. */
function checkRanks(
  subject: string,
  { gpuIndices, dataParallel = 1, chosenRanks }: EngineSpec,
  { dataParallelRanks: ranks, tensorParallelSize }: DiscoveredEngine,
): Finding[] {
  if (gpuIndices.length === 0 && dataParallel === 1) return [];
  if (ranks !== dataParallel) {
    const fix = `Set \`dataParallel: ${ranks}\`, or start it with --data-parallel-size ${dataParallel}.`;
    const meanwhile = chosenRanks ? '; until they agree, vLLM chooses the rank of each call' : '';
    return [warning('ranks', subject, `it has ${counted(ranks)}, the config says ${dataParallel}${meanwhile}`, fix)];
  }
  if (ranks === 1 || !tensorParallelSize || gpuIndices.length === 0) return [];
  if (tensorParallelSize * ranks === gpuIndices.length) return [];
  return [
    warning(
      'gpus',
      subject,
      `it runs on ${tensorParallelSize * ranks} GPUs (tensor-parallel degree ${tensorParallelSize}, ${counted(ranks)}), the config names ${gpuIndices.length}`,
      'Correct `gpus`, or start it with another --tensor-parallel-size.',
    ),
  ];
}

function counted(ranks: number): string {
  return ranks === 1 ? 'one data-parallel rank' : `${ranks} data-parallel ranks`;
}

function checkSleep(subject: string, spec: EngineSpec, found: DiscoveredEngine): Finding[] {
  if (!spec.sleepCapable) return [];
  if (!found.devMode) {
    return [
      problem(
        'sleep',
        subject,
        'the config lets it sleep, but it has no sleep endpoints',
        'Start it with VLLM_SERVER_DEV_MODE=1 and --enable-sleep-mode, bound to 127.0.0.1.',
      ),
    ];
  }
  if (found.sleepMode === false) {
    return [
      problem(
        'sleep',
        subject,
        'sleep mode is not enabled: /sleep answers 200 and frees nothing',
        'Start it with --enable-sleep-mode.',
      ),
    ];
  }
  return [ok('sleep', subject, 'it can sleep')];
}

function checkExposure(
  subject: string,
  { url }: EngineSpec,
  { devMode }: DiscoveredEngine,
  exposedAt: readonly string[],
): Finding[] {
  if (!devMode) return [];
  if (exposedAt.length === 0) return [ok('exposure', subject, `its development endpoints answer ${whoMayAsk(url)}`)];
  return [
    problem(
      'exposure',
      subject,
      `its development endpoints (sleep, weights, arbitrary calls in the workers) answer without a password at ${exposedAt.join(', ')}`,
      'Bind it to loopback (--host 127.0.0.1) or to a socket of your own user (--uds PATH) and run Maestro beside it; or let it ask for a certificate (--ssl-cert-reqs 2, docs/operations.md), or turn VLLM_SERVER_DEV_MODE off.',
    ),
  ];
}

function whoMayAsk(url: string): string {
  if (!isLocal(url)) return 'those only who show a certificate';
  return engineAddress(url).socketPath === undefined ? 'on loopback only' : 'on its socket only';
}

/** Is the server on this host, at an address that no other host reaches? */
export function isLocal(url: string): boolean {
  const { host, socketPath } = engineAddress(url);
  return socketPath !== undefined || isLoopback(host);
}
