import { isDeepStrictEqual } from 'node:util';
import type { EngineSpec, Leaving, NodeSpec } from '../model/fleet.js';
import { toNodeSpecs } from './node-specs.js';
import type { EngineConfig, MaestroConfig } from './schema.js';

/** An engine as the fleet file asks for it. */
export interface FleetMember {
  readonly spec: EngineSpec;
  /** Where this process starts it: all that its command line is made of. */
  readonly launched?: EngineConfig;
}

/** A node as the fleet file asks for it. */
export interface FleetNode {
  /** Without engines. */
  readonly spec: NodeSpec;
  readonly telemetry: string;
  /** Some engine of it is emulated, in this process. */
  readonly emulated: boolean;
  readonly members: readonly FleetMember[];
}

/**
 * What an engine that has been taken into service does:
 * - `serves`; - `arrives`: has taken the place of another one and has not answered yet; - a {@link Leaving}: ends what runs on it; - `ends`: is empty, and being stopped or forgotten.
 */
export type MemberPhase = 'serves' | 'arrives' | Leaving | 'ends';

export interface ServingMember {
  readonly member: FleetMember;
  readonly phase: MemberPhase;
}

export interface ServingNode {
  readonly node: Omit<FleetNode, 'members'>;
  readonly engines: readonly ServingMember[];
}

/** What is to be done now, and what is left for later. */
export interface FleetChange {
  /** Nodes to take in, without engines; those are among `join`. */
  readonly joinNodes: readonly FleetNode[];
  readonly join: readonly FleetMember[];
  /** Engines that are to take nothing new; undefined: that are to stay after all. */
  readonly leave: readonly { readonly member: FleetMember; readonly leaving: Leaving | undefined }[];
  /** Nodes without engines that are to be closed. */
  readonly leaveNodes: readonly string[];
  /** Engines that come once those of their names are gone. */
  readonly later: readonly FleetMember[];
  /** Ids of engines that are replaced once others of their model have been. */
  readonly inTurn: readonly string[];
  /** Names of what only a restart changes. */
  readonly waiting: readonly string[];
}

/**
 * The nodes of a config, for comparison.
 *
 * @param urls Base URLs of the emulated engines by engine id.
 */
export function fleetNodes(config: MaestroConfig, urls: ReadonlyMap<string, string>): FleetNode[] {
  return toNodeSpecs(config, urls).map((spec, index) => {
    const { telemetry, engines } = config.fleet.nodes[index]!;
    return {
      spec: { ...spec, engines: [] },
      telemetry,
      emulated: engines.some(({ url }) => url === undefined),
      members: spec.engines.map((engine, at) => {
        const written = engines[at]!;
        return written.launch ? { spec: engine, launched: written } : { spec: engine };
      }),
    };
  });
}

/**
 * The next steps from what serves to what the file asks for. It is asked again after each step that takes time, until nothing is left to do. Of several engines of a model that change, one at a time is
 * replaced. Hardware of a node, and nodes with emulated engines, wait for a restart.
 */
export function planFleetChange(serving: readonly ServingNode[], wanted: readonly FleetNode[]): FleetChange {
  const joinNodes: FleetNode[] = [];
  const leaveNodes: string[] = [];
  const waiting: string[] = [];
  /** Nodes whose engines follow the file, as it wants them; none of those that are to go. */
  const following = new Map<string, readonly FleetMember[]>();
  const now = new Map(serving.map((node) => [node.node.spec.nodeId, node]));
  for (const node of wanted) {
    const { nodeId } = node.spec;
    const here = now.get(nodeId);
    if (!here) {
      if (node.emulated) waiting.push(nameOf(nodeId));
      else joinNodes.push(node);
      if (!node.emulated) following.set(nodeId, node.members);
      continue;
    }
    const changed = changedHardware(here.node, node);
    if (changed.length > 0) {
      if (here.engines.length === 0) leaveNodes.push(nodeId);
      else waiting.push(...changed.map((field) => `${nameOf(nodeId)}.${field}`));
    } else if (!here.node.emulated && !node.emulated) following.set(nodeId, node.members);
    else if (
      !isDeepStrictEqual(
        here.engines.map(({ member }) => member),
        node.members,
      )
    ) {
      waiting.push(`${nameOf(nodeId)}.engines`);
    }
  }
  for (const { node, engines } of serving) {
    const { nodeId } = node.spec;
    if (wanted.some(({ spec }) => spec.nodeId === nodeId)) continue;
    if (node.emulated) waiting.push(nameOf(nodeId));
    else if (engines.length === 0) leaveNodes.push(nodeId);
    else following.set(nodeId, []);
  }
  return { joinNodes, leaveNodes, waiting, ...planMembers(serving, following) };
}

function planMembers(
  serving: readonly ServingNode[],
  following: ReadonlyMap<string, readonly FleetMember[]>,
): Pick<FleetChange, 'join' | 'leave' | 'later' | 'inTurn'> {
  const leave: { member: FleetMember; leaving: Leaving | undefined }[] = [];
  const inTurn: string[] = [];
  const all = serving.flatMap(({ engines }) => engines);
  /** Models of which an engine is being replaced. */
  const busy = new Set(all.flatMap(({ member, phase }) => (isReplaced(phase) ? [member.spec.model] : [])));
  for (const { node, engines } of serving) {
    const members = following.get(node.spec.nodeId);
    if (!members) continue;
    for (const { member, phase } of engines) {
      const { engineId, model } = member.spec;
      if (phase === 'ends') continue;
      const next = members.find(({ spec }) => spec.engineId === engineId);
      const leaving = leavingOf(member, next);
      const isLeaving = phase !== 'serves' && phase !== 'arrives';
      if (leaving === (isLeaving ? phase : undefined)) continue;
      if (leaving === 'to-return' && phase === 'serves') {
        if (busy.has(model)) {
          inTurn.push(engineId);
          continue;
        }
        busy.add(model);
      }
      leave.push({ member, leaving });
    }
  }
  const taken = new Map(all.map((each) => [each.member.spec.engineId, each]));
  const missing = [...following.values()].flat().filter(({ spec }) => {
    const here = taken.get(spec.engineId);
    return !here || here.phase === 'ends' || here.member.spec.nodeId !== spec.nodeId || isAway(here, leave);
  });
  return {
    join: missing.filter(({ spec }) => !taken.has(spec.engineId)),
    leave,
    later: missing.filter(({ spec }) => taken.has(spec.engineId)),
    inTurn,
  };
}

/** Does the engine leave, by what it did or by what it is to do now? */
function isAway({ member, phase }: ServingMember, leave: FleetChange['leave']): boolean {
  const step = leave.find((each) => each.member === member);
  return step ? step.leaving !== undefined : phase !== 'serves' && phase !== 'arrives';
}

function isReplaced(phase: MemberPhase): boolean {
  return phase === 'to-return' || phase === 'arrives' || phase === 'ends';
}

/** Undefined where the engine is what the file wants. */
function leavingOf(member: FleetMember, next: FleetMember | undefined): Leaving | undefined {
  if (next && isDeepStrictEqual(member, next)) return undefined;
  if (next?.spec.model === member.spec.model) return 'to-return';
  return member.launched ? 'to-end' : 'for-good';
}

/** Fields of the node itself, by their names in the file. */
function changedHardware(before: Omit<FleetNode, 'members'>, after: FleetNode): string[] {
  const fields = (node: Omit<FleetNode, 'members'>) => ({
    cluster: node.spec.clusterId,
    gpus: node.spec.gpus,
    hostMemory: node.spec.hostMemoryBytes,
    staging: node.spec.staging,
    telemetry: node.telemetry,
  });
  const [old, young] = [fields(before), fields(after)];
  return (Object.keys(old) as (keyof typeof old)[]).filter((name) => !isDeepStrictEqual(old[name], young[name]));
}

function nameOf(nodeId: string): string {
  return `fleet.nodes[${nodeId}]`;
}
