import { request } from 'undici';

/** What a Maestro gateway makes of a class that a workflow asks for. */
export interface ServedClass {
  /** Class that its calls get: another one where the key allows no more, or where the fleet has none of this name. */
  readonly name: string;
  /** Deadline after the arrival of workflows that name none. */
  readonly deadlineMs: number;
}

/** Asks a Maestro gateway what it makes of each class. Empty for any other endpoint, which knows no classes. */
export async function fetchServedClasses(
  target: string,
  headers: Readonly<Record<string, string>>,
  classes: readonly string[],
): Promise<Map<string, ServedClass>> {
  const served = new Map<string, ServedClass>();
  for (const name of classes) {
    const found = await servedClass(target, { ...headers, 'x-maestro-class': name });
    if (!found) break;
    served.set(name, found);
  }
  return served;
}

async function servedClass(target: string, headers: Record<string, string>): Promise<ServedClass | undefined> {
  try {
    const answer = await request(`${target}/v1/maestro/identity`, {
      ...{ headers, headersTimeout: 10_000, bodyTimeout: 10_000 },
    });
    const text = await answer.body.text();
    if (answer.statusCode !== 200) return undefined;
    const { sloClass, deadlineMs } = JSON.parse(text) as Record<string, unknown>;
    return typeof sloClass === 'string' && typeof deadlineMs === 'number' ? { name: sloClass, deadlineMs } : undefined;
  } catch {
    // No gateway of ours; the replay itself tells about a target that does not answer.
    return undefined;
  }
}
