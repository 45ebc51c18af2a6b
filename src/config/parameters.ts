import { objectOf } from '../model/json.js';
import { unknownName } from './issues.js';
import type { Finding } from './problem.js';
import type { Written } from './written.js';

/** Checks `parameters` as written: the models it names are served, and no two rules of one model speak of the same field. */
export function checkParameters(parameters: Written, served: readonly string[]): Finding[] {
  return Object.entries(parameters).flatMap(([model, written]): Finding[] => {
    const path = ['parameters', model];
    const rules = objectOf(written);
    const findings = contradictions(rules).map(
      (finding): Finding => ({ ...finding, path: [...path, ...finding.path] }),
    );
    if (model !== '*' && served.length > 0 && !served.includes(model)) {
      findings.push({ ...unknownName('served model', model, served), path, at: 'key' });
    }
    return findings;
  });
}

function contradictions(rules: Written): Finding[] {
  const ruled = new Map<string, string>();
  const findings: Finding[] = [];
  for (const kind of ['refuse', 'drop', 'fixed', 'defaults', 'caps']) {
    for (const [step, name] of fieldsOf(rules[kind])) {
      const other = ruled.get(name);
      // A default and a cap go together; nothing else does.
      if (other !== undefined && !(kind === 'caps' && other === 'defaults')) {
        findings.push({
          path: [kind, step],
          at: typeof step === 'number' ? 'value' : 'key',
          severity: 'error',
          message: `${other} speaks of "${name}" already`,
          fix: 'Keep one of the two.',
        });
      }
      ruled.set(name, other ?? kind);
    }
  }
  const caps = objectOf(rules['caps']);
  for (const [name, value] of Object.entries(objectOf(rules['defaults']))) {
    const cap = caps[name];
    if (typeof cap !== 'number' || (typeof value === 'number' && value <= cap)) continue;
    findings.push({
      path: ['defaults', name],
      at: 'value',
      severity: 'error',
      message: `the default of a capped field must be a number of at most ${cap}`,
    });
  }
  return findings;
}

/** The fields of a mapping or a list of rules, and where each stands in it. */
function fieldsOf(rules: unknown): [string | number, string][] {
  if (!Array.isArray(rules)) return Object.keys(objectOf(rules)).map((name) => [name, name]);
  return rules.flatMap((name: unknown, index) => (typeof name === 'string' ? [[index, name] as [number, string]] : []));
}
