import type { Command } from 'commander';
import { stringify } from 'yaml';
import { effectiveConfig } from '../config/effective.js';
import { checkConfig, readConfigFile } from '../config/load.js';
import { ConfigError, formatProblem } from '../config/problem.js';
import { configJsonSchema } from '../config/schema.js';
import { printJson } from './output.js';

/** `maestro config …`: check a config file, print its JSON Schema, show what is in force. */
export function registerConfig(program: Command): void {
  const config = program
    .command('config')
    .summary('check a config file, print its schema, show what is in force')
    .description('One YAML file configures everything; every field has a default. See docs/configuration.md.')
    .addHelpText('after', '\nExample:\n  $ maestro config show\n');

  config
    .command('check')
    .summary('check a config file')
    .description('Reads a config file and tells everything that is wrong with it, each with file, line and column.')
    .argument('<file>', 'the YAML file')
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\nExample:\n  $ maestro config check deploy/demo-fleet.yaml\n')
    .action((file: string, options: { json?: boolean }) => check(file, options.json ?? false));

  config
    .command('schema')
    .summary('print the JSON Schema of the config')
    .description('Prints the JSON Schema of the config file, for editors that complete and check as you type.')
    .addHelpText('after', '\nExample:\n  $ maestro config schema > maestro.schema.json\n')
    .action(() => printJson(configJsonSchema()));

  config
    .command('show')
    .summary('print the config in force')
    .description('Prints the config with every default filled in and secrets masked. Without a file: the defaults.')
    .argument('[file]', 'the YAML file')
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\nExample:\n  $ maestro config show deploy/demo-fleet.yaml\n')
    .action((file: string | undefined, options: { json?: boolean }) => show(file, options.json ?? false));
}

function check(file: string, json: boolean): void {
  const { config, problems } = checkConfig(readConfigFile(file), file);
  const ok = config !== undefined;
  if (json) {
    printJson({ file, ok, problems });
  } else if (problems.length > 0) {
    process.stderr.write(`${problems.map(formatProblem).join('\n')}\n`);
  }
  if (!json && ok) {
    const engines = config.fleet.nodes.reduce((sum, node) => sum + node.engines.length, 0);
    process.stdout.write(
      `${file} is fine: ${counted(config.fleet.nodes.length, 'node')}, ${counted(engines, 'engine')}\n`,
    );
  }
  if (!ok) process.exitCode = 1;
}

function show(file: string | undefined, json: boolean): void {
  const name = file ?? 'defaults';
  const { config, problems, written } = checkConfig(file === undefined ? '' : readConfigFile(file), name);
  if (!config) throw new ConfigError(name, problems);
  const effective = effectiveConfig(written);
  if (json) printJson(effective);
  else process.stdout.write(stringify(effective, { lineWidth: 120 }));
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
