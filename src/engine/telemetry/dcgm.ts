import { request } from 'undici';
import { parseMetrics, type Sample } from '../vllm/prometheus.js';
import type { GpuReading, GpuSource } from './gpu-source.js';

const MIB = 1024 * 1024;

/** DCGM writes values near 2^63 (as integers) or 1.7e16 for fields that a GPU does not support. */
const DCGM_BLANK_FROM = 1e15;

const FIELDS = {
  used: 'DCGM_FI_DEV_FB_USED',
  free: 'DCGM_FI_DEV_FB_FREE',
  reserved: 'DCGM_FI_DEV_FB_RESERVED',
  utilization: 'DCGM_FI_DEV_GPU_UTIL',
  temperature: 'DCGM_FI_DEV_GPU_TEMP',
  power: 'DCGM_FI_DEV_POWER_USAGE',
  xid: 'DCGM_FI_DEV_XID_ERRORS',
} as const;
const WANTED: ReadonlySet<string> = new Set(Object.values(FIELDS));

/** Scrapes NVIDIA's DCGM exporter (port 9400 by default), where the agent itself may not touch the GPUs. */
export class DcgmSource implements GpuSource {
  readonly name = 'dcgm';

  /**
   * @param url of the metrics page, for example `http://127.0.0.1:9400/metrics`
   * @param hostname keeps only the GPUs of this host, where one exporter's page holds several
   */
  constructor(
    private readonly url: string,
    private readonly hostname?: string,
    private readonly timeoutMs = 5_000,
  ) {}

  async read(): Promise<readonly GpuReading[]> {
    const { statusCode, body } = await request(this.url, {
      headersTimeout: this.timeoutMs,
      bodyTimeout: this.timeoutMs,
      signal: AbortSignal.timeout(this.timeoutMs),
    });
    const text = await body.text();
    if (statusCode !== 200) throw new Error(`the DCGM exporter answered ${statusCode} at ${this.url}`);
    return parseDcgmPage(text, this.hostname);
  }
}

/** Memory fields are MiB, utilisation percent, power watts. Rows of MIG slices (`GPU_I_ID`) are parts of a GPU and are left out. */
export function parseDcgmPage(text: string, hostname?: string): GpuReading[] {
  const samples = parseMetrics(text, WANTED);
  const gpus = new Map<number, Partial<Record<keyof typeof FIELDS, number>> & { labels: Sample['labels'] }>();
  for (const [field, metric] of Object.entries(FIELDS) as [keyof typeof FIELDS, string][]) {
    for (const { labels, value } of samples.get(metric) ?? []) {
      const index = Number(labels.gpu);
      if (!Number.isInteger(index) || labels.GPU_I_ID) continue;
      if (hostname !== undefined && labels.Hostname !== hostname) continue;
      const gpu = gpus.get(index) ?? { labels };
      gpus.set(index, gpu);
      if (Number.isFinite(value) && Math.abs(value) < DCGM_BLANK_FROM) gpu[field] = value;
    }
  }
  const readings = [...gpus].flatMap(([index, gpu]): GpuReading[] => {
    const known = gpu.used !== undefined && gpu.free !== undefined;
    // A GPU that has fallen off the bus tells its Xid and nothing else.
    if (!known && !gpu.xid) return [];
    const usedMiB = known ? gpu.used! + (gpu.reserved ?? 0) : Number.NaN;
    return [
      {
        index,
        uuid: gpu.labels.UUID,
        name: gpu.labels.modelName,
        usedBytes: usedMiB * MIB,
        totalBytes: (usedMiB + (gpu.free ?? Number.NaN)) * MIB,
        utilization: gpu.utilization === undefined ? undefined : gpu.utilization / 100,
        temperatureC: gpu.temperature,
        powerW: gpu.power,
        xid: gpu.xid,
      },
    ];
  });
  if (readings.length === 0) {
    throw new Error(`the DCGM exporter tells no GPU memory (${FIELDS.used} and ${FIELDS.free} are needed)`);
  }
  return readings.sort((a, b) => a.index - b.index);
}
