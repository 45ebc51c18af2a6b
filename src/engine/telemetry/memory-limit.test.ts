import { describe, expect, it } from 'vitest';
import { GiB } from '../../model/units.js';
import { memoryLimit } from './memory-limit.js';

const V1 = '/sys/fs/cgroup/memory';
const V2 = '/sys/fs/cgroup';

/** The limit of a host of 256 GiB with these files. */
function limitOf(files: Readonly<Record<string, string>>) {
  return memoryLimit((path) => files[path], 256 * GiB);
}

function group2(folder: string, limit: number | 'max', used = 0, cached = 0): Record<string, string> {
  return {
    [`${folder}/memory.max`]: `${limit}\n`,
    [`${folder}/memory.current`]: `${used}\n`,
    [`${folder}/memory.stat`]: `anon 1\nfile ${cached}\ninactive_file ${cached / 2}\nactive_file ${cached / 2}\n`,
  };
}

describe('memoryLimit', () => {
  it.each([
    ['no control groups', {}],
    ['none with a limit', { '/proc/self/cgroup': '0::/user.slice\n', ...group2(`${V2}/user.slice`, 'max', GiB) }],
    ['one above the memory of the host', { '/proc/self/cgroup': '0::/a\n', ...group2(`${V2}/a`, 512 * GiB) }],
    [
      'version 1 without a limit',
      {
        '/proc/self/cgroup': '4:memory:/\n0::/\n',
        [`${V1}/memory.limit_in_bytes`]: '9223372036854771712\n',
        [`${V1}/memory.usage_in_bytes`]: '1\n',
      },
    ],
  ])('is undefined: %s', (_, files) => {
    expect(limitOf(files)).toBeUndefined();
  });

  it('is that of a container, whose page cache is not in use', () => {
    const files = { '/proc/self/cgroup': '0::/\n', ...group2(V2, 64 * GiB, 50 * GiB, 30 * GiB) };
    expect(limitOf(files)).toEqual({ limitBytes: 64 * GiB, availableBytes: 44 * GiB });
  });

  it('is the lower one of what throttles and what kills', () => {
    const files = { '/proc/self/cgroup': '0::/a\n', ...group2(`${V2}/a`, 64 * GiB), [`${V2}/a/memory.high`]: `${GiB}` };
    expect(limitOf(files)).toEqual({ limitBytes: GiB, availableBytes: GiB });
  });

  it('is the tightest of the groups around the own one', () => {
    const files = {
      '/proc/self/cgroup': '0::/pod/container\n',
      ...group2(`${V2}/pod/container`, 64 * GiB, 10 * GiB),
      ...group2(`${V2}/pod`, 80 * GiB, 79 * GiB),
    };
    expect(limitOf(files)).toEqual({ limitBytes: 64 * GiB, availableBytes: GiB });
  });

  it('is found in version 1, under a path of the host of which a container sees the end alone', () => {
    const files = {
      '/proc/self/cgroup': '5:cpu,cpuacct:/docker/4f\n4:memory:/docker/4f\n0::/\n',
      [`${V1}/memory.limit_in_bytes`]: `${32 * GiB}\n`,
      [`${V1}/memory.usage_in_bytes`]: `${20 * GiB}\n`,
      [`${V1}/memory.stat`]: `inactive_file 1\ntotal_inactive_file ${4 * GiB}\ntotal_active_file ${2 * GiB}\n`,
    };
    expect(limitOf(files)).toEqual({ limitBytes: 32 * GiB, availableBytes: 18 * GiB });
  });
});
