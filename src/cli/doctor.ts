import type { Command } from 'commander';
import { WallClock } from '../bus/wall-clock.js';
import { engineApiKeys, gatewayKeys } from '../config/keys.js';
import { readConfig } from '../config/load.js';
import { toNodeSpecs } from '../config/node-specs.js';
import type { MaestroConfig } from '../config/schema.js';
import { parseEngineUrl } from '../model/engine-address.js';
import { MaestroError, messageOf } from '../model/error.js';
import type { NodeSpec } from '../model/fleet.js';
import { examine } from '../observe/doctor/examine.js';
import { type Finding, ok, problem, type Severity, warning } from '../observe/doctor/finding.js';
import { modelFileOf } from '../predict/directory/service.js';
import { readDoorFiles } from './door-tls.js';
import { paint, printJson } from './output.js';
import { defaultModelPath, modelPathOf } from './package-files.js';
import { ServerNames } from './server-names.js';
import { type TlsArguments, tlsOfArguments, tlsOfConfig, withTlsOptions } from './tls-options.js';
import { discoveredNodes, parseUrls, vllmApiKey, vllmApiKeys } from './vllm-urls.js';

interface DoctorArguments extends TlsArguments {
  readonly fleet?: string;
  readonly vllm?: readonly string[];
  readonly apiKeyEnv?: string;
  readonly json?: boolean;
}

/** `maestro doctor`: what is wrong with this set-up, and how to fix it. */
export function registerDoctor(program: Command): void {
  const command = program
    .command('doctor')
    .summary('say what is wrong with this host and its engines, and how to fix it')
    .description(
      'Looks at this host (Node, limits, memory, disks, GPUs), at the prediction model, and at every vLLM server that is named: does it answer, can it sleep, are its ' +
        'control endpoints open to the network. Changes nothing. Ends with 1 where something will fail or is unsafe.',
    )
    .option('--fleet <file>', 'fleet file whose engines are looked at; emulated ones are left out')
    .option('--vllm <urls>', 'base URLs of vLLM servers, separated by commas; `unix:/PATH` for a socket', parseUrls)
    .option('--api-key-env <name>', 'environment variable that holds the API key of the --vllm servers');
  withTlsOptions(command)
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\nExample:\n  $ maestro doctor --vllm http://127.0.0.1:8000\n')
    .action(doctor);
}

async function doctor(options: DoctorArguments): Promise<void> {
  if (options.fleet !== undefined && options.vllm !== undefined) {
    throw new MaestroError('invalid_request', 'Give --fleet or --vllm, not both.');
  }
  const urls = options.vllm && (await new ServerNames(options.vllm).look(refuseName));
  const findings = urls
    ? await examine(discoveredNodes(urls), await modelFileOf(defaultModelPath()), {
        apiKeys: vllmApiKeys(urls, vllmApiKey(options.apiKeyEnv)),
        tls: tlsOfArguments(options, new WallClock()),
      })
    : await examineFleet(options.fleet);
  if (options.json) printJson({ ok: !has(findings, 'problem'), findings });
  else print(findings);
  if (has(findings, 'problem')) process.exitCode = 1;
}

function refuseName(url: string, message: string): never {
  throw new MaestroError('not_found', `No server is found under ${url}: ${message}`);
}

async function examineFleet(file: string | undefined): Promise<Finding[]> {
  if (file === undefined) return await examine([], await modelFileOf(defaultModelPath()));
  const { config, warnings } = readConfig(file);
  const nodes = toNodeSpecs(config, new Map()).map(
    (node): NodeSpec => ({ ...node, engines: node.engines.filter(({ url }) => parseEngineUrl(url) !== undefined) }),
  );
  const modelPath = modelPathOf(config.prediction.model);
  const modelFile = modelPath === undefined ? undefined : await modelFileOf(modelPath);
  const launches = config.fleet.nodes.flatMap(({ engines }) =>
    engines.flatMap(({ id, launch }) => (launch === undefined ? [] : [[id, launch] as const])),
  );
  const { embedder: folder, embedderWaitMs: waitMs } = config.prediction;
  const found = await examine(nodes, modelFile, {
    apiKeys: engineApiKeys(config),
    tls: tlsOfConfig(config, new WallClock()),
    launches: new Map(launches),
    ...(folder === undefined ? {} : { embedder: { folder, waitMs } }),
  });
  const doubts = warnings.map(({ path, line, message, fix }) =>
    warning('config', `${file}:${line}`, `${path}: ${message}`, fix ?? 'Correct it if it is not meant.'),
  );
  return [...found, ...keyFileFindings(config), ...doorTlsFindings(config), ...doubts];
}

/** Files of gateway keys that a start would end at. */
export function keyFileFindings({ gateway, ...rest }: MaestroConfig): Finding[] {
  const keys = gateway.keys.filter(({ keyFile }) => keyFile !== undefined);
  try {
    gatewayKeys({ ...rest, gateway: { ...gateway, keys } });
    return [];
  } catch (error) {
    return [problem('keys', 'gateway', messageOf(error), 'Write the key there, or correct `gateway.keys[].keyFile`.')];
  }
}

/** Files of TLS at the front door that a start would end at, and a certificate that no client takes. */
export function doorTlsFindings({ gateway: { tls } }: MaestroConfig, nowMs = Date.now()): Finding[] {
  if (!tls) return [];
  try {
    const { validFrom, validTo } = readDoorFiles(tls);
    const isValid = Date.parse(validFrom) <= nowMs && nowMs <= Date.parse(validTo);
    const when = `the certificate of the front door, ${tls.cert}, is valid from ${validFrom} to ${validTo}`;
    return [
      isValid
        ? ok('tls', 'gateway', when)
        : problem('tls', 'gateway', when, 'Renew it, or look at the clock of this host.'),
    ];
  } catch (error) {
    return [problem('tls', 'gateway', messageOf(error), 'Correct the file, or `gateway.tls`.')];
  }
}

const MARKS: Readonly<Record<Severity, readonly [string, 'green' | 'yellow' | 'red']>> = {
  ok: ['ok     ', 'green'],
  warning: ['warning', 'yellow'],
  problem: ['PROBLEM', 'red'],
};

function print(findings: readonly Finding[]): void {
  for (const { severity, subject, message, fix } of findings) {
    const [mark, colour] = MARKS[severity];
    process.stdout.write(`${paint(colour, mark)}  ${subject}: ${message}\n`);
    if (fix !== undefined) process.stdout.write(`         ${fix}\n`);
  }
  const count = (severity: Severity) => findings.filter((finding) => finding.severity === severity).length;
  process.stdout.write(`\nproblems: ${count('problem')}, warnings: ${count('warning')}, fine: ${count('ok')}\n`);
}

function has(findings: readonly Finding[], severity: Severity): boolean {
  return findings.some((finding) => finding.severity === severity);
}
