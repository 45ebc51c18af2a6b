import { existsSync, readFileSync } from 'node:fs';
import { LineCounter, parseDocument, type YAMLParseError } from 'yaml';
import { MaestroError } from '../model/error.js';
import { checkCapacity } from './capacity.js';
import { checkDoubts } from './doubts.js';
import { findingsOf, type JsonSchemaNode } from './issues.js';
import { placeFinding, placeOffset, type YamlSource } from './positions.js';
import { ConfigError, type ConfigProblem, type Finding } from './problem.js';
import { checkReferences } from './references.js';
import { configJsonSchema, configSchema, type MaestroConfig } from './schema.js';

const ALIGN = 'Fields that belong together begin in the same column, and a space follows each colon.';
/** What has most likely gone wrong, by the parser's codes. */
const SYNTAX_FIXES: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: 'Indent with spaces.',
  BAD_INDENT: ALIGN,
  BLOCK_AS_IMPLICIT_KEY: ALIGN,
  MULTILINE_IMPLICIT_KEY: ALIGN,
  MISSING_CHAR: ALIGN,
};

type Environment = Readonly<Record<string, string | undefined>>;

/** What came of reading a config: the config when nothing is wrong with it, and every problem, in the order of the file. */
export interface ConfigCheck {
  readonly config: MaestroConfig | undefined;
  readonly problems: readonly ConfigProblem[];
  /** The file as plain data, before defaults. */
  readonly written: unknown;
}

/** A config that can be used, all of it from one reading of its file, which may be a pipe or change meanwhile. */
export interface LoadedConfig {
  readonly config: MaestroConfig;
  readonly file: string;
  readonly text: string;
  /** What it says and was most likely not meant. */
  readonly warnings: readonly ConfigProblem[];
}

/** Reads and checks the config file at `path`. Throws a {@link ConfigError} that lists every problem. */
export function loadConfig(path: string, environment: Environment = process.env): MaestroConfig {
  return readConfig(path, environment).config;
}

/** Like {@link loadConfig}, with what was read. */
export function readConfig(path: string, environment: Environment = process.env): LoadedConfig {
  return load(readConfigFile(path), path, environment);
}

/** Like {@link loadConfig}, of a text; `file` is the name that the problems carry. */
export function parseConfig(text: string, file: string, environment: Environment = process.env): MaestroConfig {
  return load(text, file, environment).config;
}

function load(text: string, file: string, environment: Environment): LoadedConfig {
  const { config, problems } = checkConfig(text, file, environment);
  if (config) return { config, file, text, warnings: problems };
  throw new ConfigError(
    file,
    problems.filter(({ severity }) => severity === 'error'),
  );
}

export function readConfigFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new MaestroError('not_found', `Cannot read the config file ${path}: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Reads a config and tells everything that is wrong with it, warnings included. Does not throw on a bad config.
 *
 * @param exists Is there a file or folder at this path?
 */
export function checkConfig(
  text: string,
  file: string,
  environment: Environment = process.env,
  exists: (path: string) => boolean = existsSync,
): ConfigCheck {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, {
    lineCounter,
    prettyErrors: false,
    resolveKnownTags: false,
    logLevel: 'error',
  });
  const source: YamlSource = { file, text, document, lineCounter };
  // What is read after the first fault of the syntax is mostly read wrongly.
  const [fault] = document.errors;
  if (fault) return { config: undefined, problems: [syntaxProblem(source, fault)], written: undefined };
  const written: unknown = document.toJS() ?? {};
  const parsed = configSchema.safeParse(written);
  const schemaFindings = parsed.success
    ? []
    : findingsOf(parsed.error.issues, written, configJsonSchema() as JsonSchemaNode);
  const findings = withoutRepeats([
    ...schemaFindings,
    ...checkReferences(written, environment),
    ...checkDoubts(written, exists),
  ]);
  if (parsed.success && !findings.some(isError)) findings.push(...checkCapacity(parsed.data));
  const problems = findings
    .map((finding) => placeFinding(source, finding))
    .sort((a, b) => a.line - b.line || a.column - b.column);
  return { config: findings.some(isError) ? undefined : parsed.data, problems, written };
}

function syntaxProblem(source: YamlSource, { pos, code, message }: YAMLParseError): ConfigProblem {
  return {
    ...placeOffset(source, pos[0]),
    path: '',
    severity: 'error',
    // What follows a semicolon is advice to programmers.
    message: `not valid YAML: ${message.replace(/;.*$|\.$/s, '')}`,
    fix: SYNTAX_FIXES[code],
  };
}

function isError({ severity }: Pick<Finding, 'severity'>): boolean {
  return severity === 'error';
}

/** The schema and the reference checks may see the same thing; it is told once. */
function withoutRepeats(findings: readonly Finding[]): Finding[] {
  const seen = new Set<string>();
  return findings.filter(({ path, message }) => {
    const key = JSON.stringify([path, message]);
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}
