import { Command } from 'commander';
import { exitCodeOf, renderFailure } from './output.js';
import { packageVersion } from './package-files.js';

/** A sub-command whose module is loaded only when it is asked for, so that `maestro --help` answers at once. */
export interface LazyCommand {
  readonly name: string;
  readonly summary: string;
  /** Loads the module and gives its `register…` function. */
  load(): Promise<(program: Command) => void>;
}

/** Every sub-command, in the order of the help. A new one is a file in this folder and an entry here. */
export const COMMANDS: readonly LazyCommand[] = [
  {
    name: 'up',
    summary: 'serve: gateway, three levels and a fleet in one process',
    load: async () => (await import('./up.js')).registerUp,
  },
  {
    name: 'demo',
    summary: 'serve an emulated fleet, replay a real trace against it, report',
    load: async () => (await import('./demo.js')).registerDemo,
  },
  {
    name: 'emulate',
    summary: 'run one emulated vLLM server',
    load: async () => (await import('./emulate.js')).registerEmulate,
  },
  {
    name: 'replay',
    summary: 'replay a trace against a live endpoint and print the SLO report',
    load: async () => (await import('./replay.js')).registerReplay,
  },
  {
    name: 'sim',
    summary: 'replay a trace in the simulator under several policies and loads',
    load: async () => (await import('./sim.js')).registerSim,
  },
  {
    name: 'train',
    summary: 'train the predictor of output lengths and tool calls on traces',
    load: async () => (await import('./train.js')).registerTrain,
  },
  {
    name: 'predict',
    summary: 'judge a predictor on a trace, as it would have served it',
    load: async () => (await import('./predict.js')).registerPredict,
  },
  {
    name: 'validate',
    summary: 'compare the simulator with measured latencies',
    load: async () => (await import('./validate.js')).registerValidate,
  },
  {
    name: 'trace',
    summary: 'import, check and compose workload traces',
    load: async () => (await import('./trace.js')).registerTrace,
  },
  {
    name: 'config',
    summary: 'check a config file, print its schema, show what is in force',
    load: async () => (await import('./config.js')).registerConfig,
  },
  {
    name: 'explain',
    summary: 'why a request went where it went',
    load: async () => (await import('./explain.js')).registerExplain,
  },
  {
    name: 'calibrate',
    summary: 'measure a running engine and write what work costs on it',
    load: async () => (await import('./calibrate.js')).registerCalibrate,
  },
  {
    name: 'doctor',
    summary: 'say what is wrong with this host and its engines, and how to fix it',
    load: async () => (await import('./doctor.js')).registerDoctor,
  },
];

/**
 * Runs one command line and returns the exit code. Failures are printed on stderr.
 *
 * @param args The arguments after the program's name.
 */
export async function runCli(args: readonly string[], commands: readonly LazyCommand[] = COMMANDS): Promise<number> {
  const program = new Command('maestro')
    .description(
      'Serving layer for multi-agent LLM workflows: a gateway and a three-level scheduler in front of vLLM fleets.',
    )
    .version(packageVersion(), '-V, --version', 'print the version')
    // A command gets its words in their order, so that one with subcommands can tell its options from theirs.
    .enablePositionalOptions()
    .showHelpAfterError('(--help tells more)')
    .addHelpText('after', '\nExample:\n  $ maestro demo\n')
    .exitOverride();
  try {
    const wanted = commandName(args);
    for (const command of commands) {
      if (command.name === wanted) (await command.load())(program);
      else program.command(command.name).summary(command.summary);
    }
    if (args.length === 0) {
      program.outputHelp();
      return 0;
    }
    await program.parseAsync([...args], { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    const text = renderFailure(error);
    if (text !== undefined) process.stderr.write(`${text}\n`);
    return exitCodeOf(error);
  }
}

/** The first word that is not an option; in `maestro help NAME`, the name. */
function commandName(args: readonly string[]): string | undefined {
  const words = args.filter((argument) => !argument.startsWith('-'));
  return words[0] === 'help' ? words[1] : words[0];
}
