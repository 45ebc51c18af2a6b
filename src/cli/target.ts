import { InvalidArgumentError } from 'commander';

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
