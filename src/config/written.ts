import type { ConfigPath } from './problem.js';

/** A mapping as written, before the schema has looked at it. */
export type Written = Readonly<Record<string, unknown>>;
/** An entry of a written list or mapping, and where it stands. */
export interface Entry {
  readonly path: ConfigPath;
  readonly fields: Written;
}
