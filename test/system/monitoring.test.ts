/**
 * The alerts and the dashboard of `deploy/monitoring` against the page that Maestro really serves: what they ask for exists, and is written in Prometheus's language.
 */
import { readFileSync } from 'node:fs';
import { parser } from '@prometheus-io/lezer-promql';
import { request } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { packageVersion } from '../../src/cli/package-files.js';
import { type Served, serve } from '../../src/cli/serve.js';
import { parseConfig } from '../../src/config/load.js';
import { until } from './agent-process.js';

const FOLDER = new URL('../../deploy/monitoring/', import.meta.url);

const FLEET = `
fleet:
  timeScale: 20
  nodes:
    - id: node-a
      gpus: { type: h100-sxm, count: 1 }
      hostMemory: 512GiB
      engines:
        - { id: small, model: llama-3.1-8b, gpus: [0], kvMemory: 8GiB, maxModelLen: 16384 }
observe: { logLevel: silent }
`;

interface Query {
  readonly of: string;
  readonly expr: string;
}

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}

function rules(): { readonly record?: string; readonly alert?: string; readonly expr: string }[] {
  const file = parse(readFileSync(new URL('prometheus-rules.yaml', FOLDER), 'utf8'));
  return file.groups.flatMap((group: { rules: unknown[] }) => group.rules);
}

function queries(): Query[] {
  const { panels } = JSON.parse(readFileSync(new URL('grafana-dashboard.json', FOLDER), 'utf8')) as {
    panels: readonly Panel[];
  };
  return [
    ...rules().map(({ record, alert, expr }) => ({ of: record ?? alert ?? '', expr })),
    ...panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ of: title, expr }))),
  ];
}

/** Names of the metrics that a query reads. Throws where it is no PromQL. */
function metricsOf({ of, expr }: Query): string[] {
  const names: string[] = [];
  parser.parse(expr).iterate({
    enter: ({ type, from, to }) => {
      if (type.isError) throw new Error(`${of}: no PromQL at ${from}: ${expr}`);
      if (type.name === 'Identifier' && /^[a-z_:]+/.test(expr.slice(from, to))) names.push(expr.slice(from, to));
    },
  });
  return names;
}

let served: Served;
let page: string;

beforeAll(async () => {
  served = await serve({ config: parseConfig(FLEET, 'fleet.yaml'), port: 0 });
  const answer = await request(`${served.address}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-maestro-workflow': 'run-1', 'x-maestro-session-final': 'true' },
    body: JSON.stringify({ model: 'llama-3.1-8b', messages: [{ role: 'user', content: 'Say something.' }] }),
  });
  await answer.body.text();
  // The client may have the end of its answer before the levels have.
  await until('the call has ended', 10_000, () => served.scheduling.openStages === 0);
  page = await (await request(`${served.address}/metrics`)).body.text();
});

afterAll(async () => {
  await served?.stop(0);
});

describe('deploy/monitoring', () => {
  it('reads only metrics that are served, or recorded by its own rules', () => {
    const known = new Set([
      ...[...page.matchAll(/^# TYPE (\S+) (\w+)$/gm)].flatMap(([, name, type]) =>
        type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name!],
      ),
      ...rules().flatMap(({ record }) => record ?? []),
      // Prometheus's own.
      'up',
    ]);
    const unknown = queries().flatMap((query) =>
      metricsOf(query)
        .filter((name) => !known.has(name))
        .map((name) => `${query.of}: ${name}`),
    );
    expect(unknown).toEqual([]);
    expect(queries().flatMap(metricsOf)).toContain('maestro_workflows_total');
  });

  it('says which version serves', () => {
    expect(page).toContain(`maestro_build_info{version="${packageVersion()}"} 1`);
  });

  it('has its labels', () => {
    const labels = new Set([...page.matchAll(/[{,]([a-z_]+)="/g)].map(([, label]) => label));
    for (const { of, expr } of queries()) {
      for (const [, list] of expr.matchAll(/\b(?:by|on) \(([^)]*)\)/g))
        for (const label of list!.split(', '))
          expect(labels.has(label) || label === 'instance', `${of}: label ${label}`).toBe(true);
    }
  });
});

describe('GET /metrics', () => {
  it('counts a workflow that said that it is over', () => {
    expect(page).toContain('maestro_workflows_total{class="interactive",result="in_time"} 1\n');
    expect(page).toContain('maestro_workflow_duration_seconds_count{class="interactive"} 1\n');
    expect(page).toContain('maestro_workflows_open 0\n');
  });

  it('says of every metric what it is', () => {
    expect(page.match(/^# HELP maestro_\S+\s*$/m)).toBeNull();
  });
});
