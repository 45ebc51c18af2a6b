import type { Command } from 'commander';
import { WallClock } from '../bus/wall-clock.js';
import { loadConfig, readConfig } from '../config/load.js';
import { formatProblem } from '../config/problem.js';
import type { MaestroConfig } from '../config/schema.js';
import { MaestroError } from '../model/error.js';
import { createLogger } from '../observe/log.js';
import { type DoorTlsArguments, withDoorTls } from './door-tls.js';
import { port } from './numbers.js';
import { demoFleetPath } from './package-files.js';
import { takePassedSocket } from './passed-socket.js';
import { type Served, serve } from './serve.js';
import { ServerNames } from './server-names.js';
import { stopOnSignal } from './server-process.js';
import { takeServiceManager } from './service-manager.js';
import { type TlsArguments, tlsOfArguments, withTlsOptions } from './tls-options.js';
import { parseUrls, vllmApiKey } from './vllm-urls.js';

interface UpArguments extends TlsArguments, DoorTlsArguments {
  readonly fleet?: string;
  readonly vllm?: readonly string[];
  readonly port?: number;
  readonly host?: string;
  readonly insecure?: boolean;
  readonly apiKeyEnv?: string;
}

/** Wall milliseconds that open requests get to finish after a signal. */
export const DRAIN_MS = 30_000;

/** `maestro up`: everything in one process, at real time. */
export function registerUp(program: Command): void {
  const command = program
    .command('up')
    .summary('serve: gateway, three levels and a fleet in one process')
    .description(
      'Fronts vLLM servers that already run: named in a fleet file, or by their URLs alone, in which case models and limits are read ' +
        'from the servers. With neither, an emulated fleet at real time. Under systemd it serves on the socket that it is passed.',
    )
    .option('--fleet <file>', 'fleet and settings, see "maestro config"')
    .option(
      '--vllm <urls>',
      'base URLs of vLLM servers, separated by commas; `unix:/PATH` for a socket, `dns+http://NAME:PORT` for all servers that a name has addresses of, which may change',
      parseUrls,
    )
    .option('--api-key-env <name>', 'environment variable that holds the API key of the --vllm servers');
  withTlsOptions(command)
    .option('--port <port>', 'port to listen on; 0 picks a free one (default: 8080)', port)
    .option('--host <host>', 'address to listen on (default: 127.0.0.1)')
    .option('--tls-cert <file>', 'certificate (PEM) of the front door, which then speaks HTTPS')
    .option('--tls-key <file>', 'its private key (PEM)')
    .option('--tls-client-ca <file>', 'certificates (PEM) that sign those of clients: nobody is let in without one')
    .option('--insecure', 'serve other machines without any key')
    .addHelpText('after', '\nExample:\n  $ maestro up --port 8080\n')
    .action(up);
}

async function up(options: UpArguments): Promise<void> {
  if (options.fleet !== undefined && options.vllm !== undefined) {
    throw new MaestroError('invalid_request', 'Give --fleet or --vllm, not both.');
  }
  const tls = tlsOfArguments(options, new WallClock());
  if (tls && options.vllm === undefined) {
    throw new MaestroError(
      'invalid_request',
      '--cacert, --cert and --key go with --vllm; in a fleet file it is fleet.tls.',
    );
  }
  const loaded = options.fleet === undefined ? undefined : readConfig(options.fleet);
  for (const problem of loaded?.warnings ?? []) process.stderr.write(`${formatProblem(problem)}\n`);
  const config = withDoorTls(loaded?.config ?? demoConfig(), options);
  const socket = takePassedSocket();
  const manager = takeServiceManager(createLogger({ level: config.observe.logLevel }));
  const apiKey = vllmApiKey(options.apiKeyEnv);
  const names = options.vllm && new ServerNames(options.vllm);
  const start = async () => {
    const vllmUrls = await names?.look((url, message) =>
      process.stderr.write(`${url}: no server is found under this name yet (${message})\n`),
    );
    return await serve({
      ...{ config, loaded, socket },
      rehearsal: true,
      insecure: options.insecure === true,
      ...(names && vllmUrls ? { vllmUrls, vllmNames: names, vllmApiKey: apiKey, vllmTls: tls } : {}),
      ...(options.port === undefined ? {} : { port: options.port }),
      ...(options.host === undefined ? {} : { host: options.host }),
    });
  };
  let served: Served | undefined;
  const starting = start();
  // Not only when it serves: until then a signal would end it with engines just started, or, as the first process of a container, not be heard at all.
  stopOnSignal(
    async () => {
      manager?.stopping();
      const started = await starting.catch(() => undefined);
      await started?.stop(DRAIN_MS);
    },
    () => process.stderr.write('finishing open requests; once more to stop at once\n'),
    () => served?.abandon(),
    loaded &&
      (() =>
        void starting
          .then(({ reload }) => {
            manager?.reloading();
            reload?.();
            manager?.ready();
          })
          .catch(() => undefined)),
  );
  served = await starting;
  printServing(served);
  manager?.ready();
}

function demoConfig(): MaestroConfig {
  const demo = loadConfig(demoFleetPath());
  return { ...demo, fleet: { ...demo.fleet, timeScale: 1 } };
}

function printServing({ address, scheduling, fleet }: Served): void {
  const models = scheduling.models();
  const { ready, reason } = scheduling.readiness();
  process.stdout.write(
    `maestro serves at ${address} (OpenAI API under ${address}/v1; in a browser it shows what the fleet does)\n`,
  );
  for (const { name, enginesUp, engines } of models) {
    process.stdout.write(`  ${name}: ${enginesUp} of ${engines} engines answer${fleet ? ' (emulated)' : ''}\n`);
  }
  process.stdout.write(`${ready ? 'ready' : 'not ready yet'}: ${reason}\n`);
}
