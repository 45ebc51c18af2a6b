import { objectOf } from '../model/json.js';
import { unknownName } from './issues.js';
import type { Finding } from './problem.js';
import type { Entry, Written } from './written.js';

/** Names by which clients ask for models: each stands for one thing, and what aliases stand for is there. */
export function checkServedNames(root: Written, engines: readonly Entry[]): Finding[] {
  const served = new Map<string, unknown>();
  const findings: Finding[] = [];
  for (const { fields, path } of engines) {
    const name = fields['servedName'] ?? fields['model'];
    if (typeof name !== 'string') continue;
    const other = served.get(name);
    if (other !== undefined && other !== fields['model']) {
      const field = fields['servedName'] === undefined ? 'model' : 'servedName';
      findings.push({
        path: [...path, field],
        at: 'value',
        severity: 'error',
        message: `"${name}" already stands for model ${String(other)}`,
        fix: 'Give one of the two another servedName.',
      });
    }
    served.set(name, fields['model']);
  }
  const adapters = checkAdapterNames(engines, served, findings);
  for (const [alias, target] of Object.entries(objectOf(root['aliases']))) {
    const path = ['aliases', alias];
    if (served.has(alias))
      findings.push({
        path,
        at: 'key',
        severity: 'error',
        message: `"${alias}" is a served model itself, so it cannot be an alias`,
      });
    const names = [...served.keys(), ...adapters.keys()];
    if (typeof target === 'string' && served.size > 0 && !names.includes(target))
      findings.push({ ...unknownName('served model', target, names), path, at: 'value' });
  }
  return findings;
}

/** The models of all adapters by name. One name can stand for one thing only: a request says no more. */
function checkAdapterNames(
  engines: readonly Entry[],
  served: ReadonlyMap<string, unknown>,
  findings: Finding[],
): ReadonlyMap<string, unknown> {
  const bases = new Map<string, unknown>();
  for (const { fields, path } of engines) {
    const base = fields['servedName'] ?? fields['model'];
    for (const name of Object.keys(objectOf(fields['adapters']))) {
      const taken = served.has(name) ? 'a served model' : undefined;
      const elsewhere = bases.has(name) && bases.get(name) !== base ? `an adapter on ${bases.get(name)}` : undefined;
      const message = taken ?? elsewhere;
      if (message !== undefined) {
        findings.push({
          path: [...path, 'adapters', name],
          at: 'key',
          severity: 'error',
          message: `"${name}" already stands for ${message}`,
          fix: 'Give the adapter another name.',
        });
      }
      bases.set(name, base);
    }
  }
  return bases;
}

/** All of them. */
export function servedNames(engines: readonly Entry[]): string[] {
  return engines.flatMap(({ fields }) => {
    const name = fields['servedName'] ?? fields['model'];
    return typeof name === 'string' ? [name, ...Object.keys(objectOf(fields['adapters']))] : [];
  });
}
