import { describe, expect, it } from 'vitest';
import { parseGpuXml, readGpuDetails } from './nvidia-smi-xml.js';

const MIB = 1024 * 1024;

function page(gpus: string): string {
  return `<?xml version="1.0" ?><!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log><driver_version>570.86.15</driver_version><attached_gpus>1</attached_gpus>${gpus}</nvidia_smi_log>`;
}

const PLAIN = `<gpu id="00000000:01:00.0"><product_name>NVIDIA A100</product_name><uuid>GPU-1</uuid>
<mig_mode><current_mig>Disabled</current_mig></mig_mode><mig_devices>None</mig_devices>
<processes><process_info><pid>4242</pid><type>C</type><process_name>VLLM::EngineCore</process_name><used_memory>40960 MiB</used_memory></process_info></processes></gpu>`;

const SLICED = `<gpu id="00000000:02:00.0"><product_name>NVIDIA H100</product_name><uuid>GPU-2</uuid>
<mig_mode><current_mig>Enabled</current_mig></mig_mode>
<mig_devices><mig_device><index>0</index><gpu_instance_id>7</gpu_instance_id><fb_memory_usage><total>9984 MiB</total><used>12 MiB</used></fb_memory_usage></mig_device></mig_devices>
<processes><process_info><pid>7</pid><process_name>a &amp; b</process_name><used_memory>N/A</used_memory></process_info>
<process_info><pid>8</pid><process_name>c</process_name><used_memory>1 MiB</used_memory></process_info></processes></gpu>`;

describe('nvidia-smi by XML', () => {
  it('reads one GPU with one process as lists of one', () => {
    expect(parseGpuXml(page(PLAIN))).toEqual([
      {
        uuid: 'GPU-1',
        name: 'NVIDIA A100',
        migMode: 'disabled',
        migDevices: [],
        processes: [{ pid: 4242, name: 'VLLM::EngineCore', usedBytes: 40960 * MIB }],
        driverVersion: '570.86.15',
      },
    ]);
  });

  it('reads MIG slices and processes whose memory is not told', async () => {
    const [, gpu] = await readGpuDetails({ run: async () => page(PLAIN + SLICED) });
    expect(gpu).toMatchObject({
      migMode: 'enabled',
      migDevices: [{ gpuInstance: 7, usedBytes: 12 * MIB, totalBytes: 9984 * MIB }],
      processes: [
        { pid: 7, name: 'a & b', usedBytes: undefined },
        { pid: 8, usedBytes: MIB },
      ],
    });
  });

  it('refuses element names that would reach the prototype', () => {
    const poisoned = page('<gpu><uuid>GPU-3</uuid><__proto__><polluted>1</polluted></__proto__></gpu>');
    expect(() => parseGpuXml(poisoned)).toThrow(/__proto__/);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  it('refuses a page without GPUs', () => {
    expect(() => parseGpuXml(page(''))).toThrow(/lists no GPU/);
  });
});
