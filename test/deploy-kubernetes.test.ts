import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { DRAIN_MS, registerUp } from '../src/cli/up.js';
import { checkConfig, parseConfig } from '../src/config/load.js';
import { matchRoute } from '../src/gateway/routes.js';

const ROOT = join(import.meta.dirname, '..');
const textOf = (name: string) => readFileSync(join(ROOT, name), 'utf8');

interface Resource {
  readonly kind: string;
  readonly data: Readonly<Record<string, string>>;
  readonly spec: {
    readonly replicas: number;
    readonly template: {
      readonly spec: {
        readonly terminationGracePeriodSeconds: number;
        readonly containers: readonly [
          {
            readonly image: string;
            readonly args: readonly string[];
            readonly ports: readonly [{ readonly containerPort: number }];
            readonly readinessProbe: Probe;
            readonly livenessProbe: Probe;
            readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
          },
        ];
        readonly volumes: readonly { readonly name: string }[];
      };
    };
  };
}

interface Probe {
  readonly httpGet: { readonly path: string };
}

describe('the Kubernetes manifest', () => {
  const resources = parseAllDocuments(textOf('deploy/kubernetes.yaml')).map((each) => each.toJS() as Resource);
  const byKind = (kind: string) => resources.find((each) => each.kind === kind)!;
  const config = byKind('ConfigMap').data['maestro.yaml']!;
  const pod = byKind('Deployment').spec.template.spec;
  const [container] = pod.containers;

  it('holds a config without problems, whose keys are in the environment', () => {
    const environment = { TEAM_A_KEY: 'a-key-of-some-length' };
    expect(checkConfig(config, 'maestro.yaml', environment).problems).toEqual([]);
    const { fleet, gateway } = parseConfig(config, 'maestro.yaml', environment);
    expect(fleet.nodes.length).toBeGreaterThan(0);
    expect(gateway.keys).toHaveLength(1);
  });

  it('starts a command that there is, with flags that it knows', () => {
    const program = new Command();
    registerUp(program);
    const [name, ...rest] = container.args;
    const command = program.commands.find((each) => each.name() === name)!;
    const known = command.options.map(({ long }) => long);
    for (const word of rest.filter((each) => each.startsWith('--'))) expect(known).toContain(word);
    expect(rest[rest.indexOf('--port') + 1]).toBe(String(container.ports[0].containerPort));
  });

  it('probes paths that are served', () => {
    for (const { httpGet } of [container.readinessProbe, container.livenessProbe])
      expect(matchRoute('GET', httpGet.path)).toMatchObject({ kind: 'route' });
  });

  it('gives the process longer than its drain, and a volume for what it saves', () => {
    expect(pod.terminationGracePeriodSeconds * 1000).toBeGreaterThan(DRAIN_MS);
    const mounts = container.volumeMounts.map(({ mountPath }) => mountPath);
    const { fleet, prediction } = parseConfig(config, 'maestro.yaml', { TEAM_A_KEY: 'a-key-of-some-length' });
    expect(mounts).toContain(fleet.stateDir);
    expect(mounts.some((each) => prediction.stateFile?.startsWith(`${each}/`))).toBe(true);
    expect(pod.volumes.map(({ name }) => name)).toEqual(
      expect.arrayContaining(container.volumeMounts.map(({ name }) => name)),
    );
  });
});

describe('the image', () => {
  const lines = textOf('Dockerfile').split('\n');
  const ignore = textOf('.dockerignore').split('\n');

  it('copies what there is and what the builder is sent', () => {
    const copies = lines
      .filter((line) => /^COPY (?!--from)/.test(line))
      .flatMap((line) => line.split(' ').slice(1, -1));
    expect(copies.length).toBeGreaterThan(8);
    for (const path of copies) {
      expect(existsSync(join(ROOT, path)), path).toBe(true);
      expect(
        ignore.some((line) => line === `!${path}` || path.startsWith(`${line.slice(1)}/`)),
        path,
      ).toBe(true);
    }
  });

  it('is of a Node that the package allows, and has the version that the manifests name', () => {
    const { version, engines } = JSON.parse(textOf('package.json')) as { version: string; engines: { node: string } };
    for (const line of lines.filter((each) => each.startsWith('FROM ')))
      expect(line).toMatch(new RegExp(`^FROM node:${/\d+/.exec(engines.node)![0]}-`));
    for (const name of ['Dockerfile', 'deploy/kubernetes.yaml', 'deploy/sweep-job.yaml'])
      expect(textOf(name)).toContain(`maestro:${version}`);
  });
});
