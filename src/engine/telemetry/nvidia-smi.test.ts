import { describe, expect, it } from 'vitest';
import { NvidiaSmiSource, parseGpuCsv } from './nvidia-smi.js';
import { runCommand } from './run-command.js';

const MIB = 1024 * 1024;

describe('nvidia-smi by CSV', () => {
  it('reads memory in bytes, shares and watts', () => {
    const [gpu] = parseGpuCsv('0, GPU-5a, NVIDIA H100 80GB HBM3, 70012, 81559, 93, 61, 512.30\n');
    expect(gpu).toEqual({
      index: 0,
      uuid: 'GPU-5a',
      name: 'NVIDIA H100 80GB HBM3',
      usedBytes: 70012 * MIB,
      totalBytes: 81559 * MIB,
      utilization: 0.93,
      temperatureC: 61,
      powerW: 512.3,
      xid: undefined,
    });
  });

  it('takes what a card does not tell as unknown', () => {
    const [gpu] = parseGpuCsv('1, GPU-b, [N/A], 5, 10, [Not Supported], N/A, [N/A]');
    expect(gpu).toMatchObject({
      index: 1,
      name: undefined,
      utilization: undefined,
      temperatureC: undefined,
      powerW: undefined,
    });
  });

  const BAD: [string, string, RegExp][] = [
    ['nothing', '\n', /lists no GPU/],
    ['no memory', '0, GPU-a, X, [N/A], 10, 1, 1, 1', /memory of GPU 0/],
    ['a message instead of rows', 'Unable to determine the device handle', /1 columns where 8/],
  ];
  it.each(BAD)('refuses %s', (_name, text, message) => {
    expect(() => parseGpuCsv(text)).toThrow(message);
  });

  it('asks for exactly the columns that it parses', async () => {
    const asked: string[] = [];
    const source = new NvidiaSmiSource({
      run: async (file, args) => {
        asked.push(file, ...args);
        return '0, GPU-a, X, 1, 2, 3, 4, 5';
      },
    });
    await expect(source.read()).resolves.toHaveLength(1);
    expect(asked).toEqual([
      'nvidia-smi',
      '--query-gpu=index,uuid,name,memory.used,memory.total,utilization.gpu,temperature.gpu,power.draw',
      '--format=csv,noheader,nounits',
    ]);
  });
});

describe('runCommand', () => {
  it('kills what hangs, and says so', async () => {
    await expect(runCommand(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], 200)).rejects.toThrow(
      /did not answer within 200 ms/,
    );
  });

  it('says when the program is missing', async () => {
    await expect(runCommand('no-such-program-here', [], 1000)).rejects.toThrow(/not installed/);
  });

  it('keeps good data that comes with a warning on stderr', async () => {
    const script = 'process.stderr.write("WARNING: infoROM is corrupted"); process.stdout.write("good")';
    await expect(runCommand(process.execPath, ['-e', script], 10_000)).resolves.toBe('good');
  });

  it('tells the first line of what a failing program said', async () => {
    const script = 'process.stderr.write("NVIDIA-SMI has failed\\nmore"); process.exit(9)';
    await expect(runCommand(process.execPath, ['-e', script], 10_000)).rejects.toThrow(
      /failed: NVIDIA-SMI has failed$/,
    );
  });
});
