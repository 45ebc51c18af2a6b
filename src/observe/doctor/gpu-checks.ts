import type { GpuReading } from '../../engine/telemetry/gpu-source.js';
import type { NodeSpec } from '../../model/fleet.js';
import { type Finding, ok, problem, warning } from './finding.js';
import { gib } from './host-checks.js';

/** Data sheets round and drivers reserve some: a total within this share is the same card. */
const SAME_CARD = 0.15;

/** @param seen What the driver tells of this host's GPUs, or why it does not. */
export function checkGpus(node: NodeSpec, seen: readonly GpuReading[] | { readonly reason: string }): Finding[] {
  const subject = node.nodeId;
  if ('reason' in seen) {
    return [
      warning(
        'driver',
        subject,
        `GPU memory cannot be read: ${seen.reason}`,
        'Install the NVIDIA driver, run where /dev/nvidia* is visible, or set `telemetry` to the URL of a DCGM exporter.',
      ),
    ];
  }
  const findings = node.gpus.map((gpu, index): Finding => {
    const reading = seen.find((candidate) => candidate.index === index);
    if (!reading) {
      return problem(
        'gpu',
        subject,
        `GPU ${index} is configured, but the driver lists ${seen.length} GPUs`,
        'Correct `gpus` of the node, or look at CUDA_VISIBLE_DEVICES.',
      );
    }
    if (Math.abs(reading.totalBytes - gpu.memoryBytes) > SAME_CARD * gpu.memoryBytes) {
      return problem(
        'gpu',
        subject,
        `GPU ${index} has ${gib(reading.totalBytes)} (${reading.name ?? 'unnamed'}), the config says ${gpu.name} with ${gib(gpu.memoryBytes)}`,
        'Correct `gpus` of the node.',
      );
    }
    return ok(
      'gpu',
      subject,
      `GPU ${index}: ${reading.name ?? gpu.name}, ${gib(reading.usedBytes)} of ${gib(reading.totalBytes)} in use`,
    );
  });
  for (const { index, xid } of seen) {
    if (!xid) continue;
    findings.push(
      problem(
        'xid',
        subject,
        `GPU ${index} reported Xid error ${xid}`,
        'Drain the node and look at dmesg; some Xids need a reset.',
      ),
    );
  }
  return findings;
}
