import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { SEGMENT_FOLDER } from '../../engine/kvcached/segment.js';
import type { NodeSpec } from '../../model/fleet.js';
import { type Finding, ok, problem } from './finding.js';
import { isProgram } from './launch-checks.js';

/** What moving the limits of kvcached needs of this host. */
export interface KvcachedPlace {
  readonly flockFound: boolean;
  /** Can files be written where the segments lie? */
  readonly writable: boolean;
}

/** Could the limits of pools that are lent be moved? Otherwise each stays with what it has. */
export function checkKvcached(nodeId: string, { flockFound, writable }: KvcachedPlace): Finding[] {
  const findings: Finding[] = [];
  if (!flockFound) {
    const message = 'flock is not a program of this host, so the KV memory of kvcached engines cannot be lent';
    findings.push(problem('kvcached', nodeId, message, 'Install util-linux.'));
  }
  if (!writable) {
    const message = `${SEGMENT_FOLDER} is not there or cannot be written, so kvcached and Maestro do not meet`;
    findings.push(
      problem('kvcached', nodeId, message, `Mount a RAM disk at ${SEGMENT_FOLDER} that Maestro and its engines share.`),
    );
  }
  return findings.length > 0 ? findings : [ok('kvcached', nodeId, `limits of kvcached are moved in ${SEGMENT_FOLDER}`)];
}

/** Nothing where no engine of the node lends its pool. */
export async function examineKvcached({ nodeId, engines }: NodeSpec): Promise<Finding[]> {
  if (!engines.some(({ kvSegment }) => kvSegment !== undefined)) return [];
  const writable = await access(SEGMENT_FOLDER, constants.W_OK | constants.X_OK).then(
    () => true,
    () => false,
  );
  return checkKvcached(nodeId, { flockFound: await isProgram('flock'), writable });
}
