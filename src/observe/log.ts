import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino';

export type { Logger } from 'pino';

export interface LogOptions {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  /** Where lines go; standard error when absent, so that standard output stays free for documents. */
  readonly destination?: DestinationStream | undefined;
}

/** Fields that never reach a log, wherever in an object up to two levels deep they stand. */
const SECRET_FIELDS = ['authorization', 'x-api-key', 'api-key', 'apiKey', 'key', 'cookie', 'set-cookie', 'password'];

/** Keys and bearer values inside free text, such as an error message that quotes a header. A word that ends so, such as `task-`, begins no key. */
const SECRET_TEXT = /(bearer\s+|(?<![a-z])sk-)[A-Za-z0-9._~+/=-]{6,}/gi;

/** A JSON logger that drops secrets at its sink: by field name, and by pattern in whatever text is left. */
export function createLogger(options: LogOptions): Logger {
  const paths = SECRET_FIELDS.flatMap((field) => [`["${field}"]`, `*["${field}"]`, `*.*["${field}"]`]);
  return pino(
    {
      level: options.level,
      base: null,
      // Read by people and by log stores, which know neither numbers of levels nor milliseconds since 1970.
      formatters: { level: (label) => ({ level: label }) },
      timestamp: stdTimeFunctions.isoTime,
      redact: { paths, censor: '[secret]' },
      hooks: { streamWrite: (line) => line.replace(SECRET_TEXT, '$1[secret]') },
    },
    options.destination ?? standardError(),
  );
}

/** Lines that cannot be written are lost: a full disk under standard error, or nobody who reads it, must not end a server. */
function standardError(): DestinationStream {
  return pino.destination({ dest: 2, sync: true }).on('error', () => undefined);
}
