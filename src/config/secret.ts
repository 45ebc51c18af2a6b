import { inspect } from 'node:util';

/** What is shown in place of a secret. */
export const MASK = '********';

/** A value that no log, error or printed config shows. Only {@link reveal} gives it out. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [inspect.custom](): string {
    return MASK;
  }
}
