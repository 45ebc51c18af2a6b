import { createHash } from 'node:crypto';

/** Digits of SHA-256 that tell the tasks and runs of a source apart; a hash says nothing about the text. */
const FINGERPRINT_DIGITS = 12;
const LONGEST_NAME = 60;

/** A short name for a text that must not leave the importer. Equal texts, also of other files, have equal ones. */
export function fingerprint(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, FINGERPRINT_DIGITS);
}

/** A name as the trace format allows it: `Chief Product Officer` and `CodeReviewComment` get dashes and small letters. */
export function slug(name: string): string {
  const plain = name
    .normalize('NFKD')
    .replace(/[\u0300-\u036f]/g, '')
    .replace(/([a-z0-9])([A-Z])/g, '$1-$2')
    .toLowerCase()
    .replace(/[^a-z0-9.]+/g, '-')
    .slice(0, LONGEST_NAME)
    .replace(/^[-.]+|[-.]+$/g, '');
  // Letters of other scripts are lost above; the fingerprint keeps such names apart.
  const lossy = plain === '' || /[^\p{ASCII}\p{M}]/u.test(name.normalize('NFKD'));
  return lossy ? `${plain === '' ? 'name' : plain}-${fingerprint(name).slice(0, 6)}` : plain;
}

/** A name as it is where the trace format allows it, else its {@link slug}. */
export function plainName(name: string): string {
  return /^[\w.:@/+~-]+$/.test(name) && name.length <= LONGEST_NAME ? name : slug(name);
}

/** Upstream path without folders and endings. */
export function stem(path: string): string {
  return (path.split('/').at(-1) ?? path).replace(/(\.gz)?$/, '').replace(/\.(json|jsonl|log|csv|txt)$/, '');
}

/** Hands out names that are unique in a trace: the second `a` is called `a~2`. */
export class UniqueNames {
  private readonly taken = new Map<string, number>();

  take(name: string): string {
    const count = (this.taken.get(name) ?? 0) + 1;
    this.taken.set(name, count);
    return count === 1 ? name : `${name}~${count}`;
  }
}
