import { type Command, InvalidArgumentError } from 'commander';
import { Agent, type buildConnector, setGlobalDispatcher } from 'undici';
import { readPem } from '../bus/renewed-files.js';
import { MaestroError } from '../model/error.js';

/** What the flags of {@link withTargetOptions} say. */
export interface TargetArguments {
  readonly target: string;
  readonly key?: string;
  readonly cacert?: string;
  readonly cert?: string;
  readonly certKey?: string;
}

/** The flags of commands that ask a gateway, named as curl names them; its `--key` is taken by the API key. */
export function withTargetOptions(command: Command, what: string): Command {
  return command
    .option('--target <url>', what, parseTarget, 'http://127.0.0.1:8080')
    .option('--key <key>', 'API key, where one is asked for (default: $MAESTRO_API_KEY)')
    .option(
      '--cacert <file>',
      'certificates (PEM) that sign that of a target at https:// (default: those that Node trusts)',
    )
    .option('--cert <file>', 'certificate (PEM) for a target that asks for one')
    .option('--cert-key <file>', 'its private key (PEM)');
}

/** How the target is connected to; undefined where the flags say nothing. What this process asks of servers from now on is asked so. */
export function connectToTarget({ cacert, cert, certKey }: TargetArguments): buildConnector.BuildOptions | undefined {
  if ((cert === undefined) !== (certKey === undefined))
    throw new MaestroError('invalid_request', '--cert and --cert-key belong together: give both or none.');
  if (cacert === undefined && cert === undefined) return undefined;
  const connect = {
    ...(cacert === undefined
      ? {}
      : { ca: readPem(cacert, 'the certificates that sign that of the target (--cacert)') }),
    ...(cert === undefined ? {} : { cert: readPem(cert, 'the certificate that the target is shown (--cert)') }),
    ...(certKey === undefined ? {} : { key: readPem(certKey, 'the private key of that certificate (--cert-key)') }),
  };
  setGlobalDispatcher(new Agent({ connect }));
  return connect;
}

/** The base URL of an endpoint, as `--target` names it: with or without `/v1`, returned without. */
export function parseTarget(text: string): string {
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) {
    throw new InvalidArgumentError('It must be a URL such as http://127.0.0.1:8080.');
  }
  return text.replace(/\/+$/, '').replace(/\/v1$/, '');
}

/** The API key of `--key`, else of the environment. */
export function keyOf(options: { readonly key?: string | undefined }): string | undefined {
  return options.key ?? process.env['MAESTRO_API_KEY'];
}

/** The command line as a report shows it: without the key, however it was given. */
export function shownArguments(args: readonly string[]): string[] {
  return args.flatMap((word, index) => {
    if (args[index - 1] === '--key' || word === '--key') return [];
    return word.startsWith('--key=') ? [] : [word];
  });
}
