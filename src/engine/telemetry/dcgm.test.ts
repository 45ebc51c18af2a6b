import { describe, expect, it } from 'vitest';
import { parseDcgmPage } from './dcgm.js';

const MIB = 1024 * 1024;
const labels = (gpu: number, more = '') =>
  `{gpu="${gpu}",UUID="GPU-${gpu}",modelName="NVIDIA L4",Hostname="h${gpu % 2}"${more}}`;

const PAGE = `# HELP DCGM_FI_DEV_FB_USED Framebuffer memory used (in MiB).
# TYPE DCGM_FI_DEV_FB_USED gauge
DCGM_FI_DEV_FB_USED${labels(1)} 200
DCGM_FI_DEV_FB_USED${labels(0)} 100
DCGM_FI_DEV_FB_USED${labels(0, ',GPU_I_ID="3"')} 7
DCGM_FI_DEV_FB_FREE${labels(0)} 900
DCGM_FI_DEV_FB_FREE${labels(1)} 800
DCGM_FI_DEV_FB_RESERVED${labels(0)} 24
DCGM_FI_DEV_GPU_UTIL${labels(0)} 50
DCGM_FI_DEV_GPU_TEMP${labels(0)} 9223372036854775794
DCGM_FI_DEV_XID_ERRORS${labels(1)} 79
`;

describe('DCGM exporter', () => {
  it('adds up memory, orders GPUs, and leaves unsupported fields and MIG slices out', () => {
    expect(parseDcgmPage(PAGE)).toEqual([
      {
        index: 0,
        uuid: 'GPU-0',
        name: 'NVIDIA L4',
        usedBytes: 124 * MIB,
        totalBytes: 1024 * MIB,
        utilization: 0.5,
        temperatureC: undefined,
        powerW: undefined,
        xid: undefined,
      },
      expect.objectContaining({ index: 1, usedBytes: 200 * MIB, totalBytes: 1000 * MIB, xid: 79 }),
    ]);
  });

  it('tells the Xid of a GPU that has fallen off the bus and tells nothing else', () => {
    const page = PAGE.replaceAll(/^DCGM_FI_DEV_FB_\w+\{gpu="1".*\n/gm, '');
    expect(parseDcgmPage(page)[1]).toMatchObject({ index: 1, xid: 79, usedBytes: Number.NaN });
  });

  it('keeps one host of a page of several', () => {
    expect(parseDcgmPage(PAGE, 'h1').map(({ index }) => index)).toEqual([1]);
  });

  it('says what is missing where memory is not exported', () => {
    expect(() => parseDcgmPage('DCGM_FI_DEV_GPU_UTIL{gpu="0"} 1\n')).toThrow(/DCGM_FI_DEV_FB_USED/);
  });
});
