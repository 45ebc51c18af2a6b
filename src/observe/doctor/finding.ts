/** How much a finding matters: `problem` will fail or is unsafe, `warning` costs something, `ok` is as it should be. */
export type Severity = 'ok' | 'warning' | 'problem';

/** What one check found. */
export interface Finding {
  /** Stable name of the check, for scripts. */
  readonly check: string;
  /** What was looked at: `host`, or a node or engine. */
  readonly subject: string;
  readonly severity: Severity;
  readonly message: string;
  /** What to do about it. Every finding that is not `ok` has one. */
  readonly fix?: string;
}

export function ok(check: string, subject: string, message: string): Finding {
  return { check, subject, severity: 'ok', message };
}

export function warning(check: string, subject: string, message: string, fix: string): Finding {
  return { check, subject, severity: 'warning', message, fix };
}

export function problem(check: string, subject: string, message: string, fix: string): Finding {
  return { check, subject, severity: 'problem', message, fix };
}
