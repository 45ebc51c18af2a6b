import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { DRAIN_MS, registerUp } from '../src/cli/up.js';
import { parseConfig } from '../src/config/load.js';

/** The directives of a unit, by section and name, each with all its values. */
function readUnit(name: string): ReadonlyMap<string, readonly string[]> {
  const unit = new Map<string, string[]>();
  let section = '';
  for (const line of readFileSync(join(import.meta.dirname, '../deploy', name), 'utf8').split('\n')) {
    section = /^\[(\w+)\]$/.exec(line)?.[1] ?? section;
    const [, directive, value] = /^(\w+)=(.*)$/.exec(line) ?? [];
    if (directive === undefined) continue;
    const key = `${section}.${directive}`;
    unit.set(key, [...(unit.get(key) ?? []), value!]);
  }
  return unit;
}

describe('the systemd units', () => {
  const service = readUnit('maestro.service');
  const socket = readUnit('maestro.socket');
  const one = (unit: ReadonlyMap<string, readonly string[]>, key: string) => {
    expect(unit.get(key), key).toHaveLength(1);
    return unit.get(key)![0]!;
  };

  it('start a command that there is, with flags that it knows and none of an address, which the socket has', () => {
    const program = new Command();
    registerUp(program);
    const [path, name, ...rest] = one(service, 'Service.ExecStart').split(' ');
    expect(path).toBe('/usr/bin/maestro');
    const known = program.commands.find((each) => each.name() === name)!.options.map(({ long }) => long);
    const flags = rest.filter((word) => word.startsWith('--'));
    for (const flag of flags) expect(known).toContain(flag);
    expect(flags).toEqual(['--fleet']);
  });

  it('pass one socket, at the address that is the default, and start it with the service', () => {
    const { listen } = parseConfig('', 'maestro.yaml');
    expect(one(socket, 'Socket.ListenStream')).toBe(`${listen.host}:${listen.port}`);
    expect(socket.has('Socket.Accept')).toBe(false);
    expect(one(service, 'Unit.Requires')).toBe('maestro.socket');
    expect(one(service, 'Unit.After').split(' ')).toContain('maestro.socket');
    expect(one(service, 'Install.Also')).toBe('maestro.socket');
  });

  it('hear of the process that Maestro has to tell them, reload by its signal, and wait longer than its drain', () => {
    expect(one(service, 'Service.Type')).toBe('notify');
    expect(one(service, 'Service.NotifyAccess')).toBe('all');
    expect(one(service, 'Service.ExecReload')).toMatch(/ -HUP \$MAINPID$/);
    expect(Number(one(service, 'Service.TimeoutStopSec')) * 1000).toBeGreaterThan(DRAIN_MS);
  });

  it('keep relative paths of the fleet file in the folder that systemd makes', () => {
    expect(one(service, 'Service.WorkingDirectory')).toBe(`/var/lib/${one(service, 'Service.StateDirectory')}`);
  });
});
