import { isDeepStrictEqual } from 'node:util';
import type { LocalLevels } from '../bus/local.js';
import {
  type FleetChange,
  type FleetMember,
  type FleetNode,
  fleetNodes,
  type MemberPhase,
  planFleetChange,
} from '../config/fleet-change.js';
import { engineApiKeys } from '../config/keys.js';
import type { MaestroConfig } from '../config/schema.js';
import type { ReplayWorker } from '../global/portfolio/service.js';
import { MaestroError } from '../model/error.js';
import type { Leaving, NodeSpec } from '../model/fleet.js';
import type { Logger } from '../observe/log.js';
import type { GpuWatches } from './gpu-telemetry.js';
import type { StartedEngines } from './started-engines.js';

export interface LiveFleetOptions {
  /** What it was started with. */
  readonly config: MaestroConfig;
  /** What serves at the start. */
  readonly wanted: readonly FleetNode[];
  /** Base URLs of the emulated engines. */
  readonly urls: ReadonlyMap<string, string>;
  /** Where what is known of engines outlives this process; undefined where nothing does. */
  readonly stateDir: string | undefined;
  readonly levels: Pick<LocalLevels, 'fleet' | 'fleetChanged'>;
  /** Resolves when the engines that run have been looked for, so that none is started into their memory. */
  readonly ready: Promise<unknown>;
  readonly started: () => StartedEngines | undefined;
  readonly watches: GpuWatches;
  /** The keys that engines are sent; kept up to date here. */
  readonly apiKeys: Map<string, string>;
  /** Claims the folder of started engines; throws where another process has it. */
  readonly claimStateDir: () => void;
  /** What replays the traffic on this fleet; undefined where it cannot be modelled, or nothing is replayed. */
  readonly replays: (nodes: readonly NodeSpec[]) => ReplayWorker | undefined;
  readonly logger: Pick<Logger, 'info' | 'error'>;
}

interface Member {
  readonly member: FleetMember;
  phase: MemberPhase;
}

interface Node {
  readonly node: FleetNode;
  readonly engines: Member[];
}

/** Brings the fleet that serves to what the file asks for: what is new joins, what is gone is drained first and then forgotten, what has changed does one after the other. */
export class LiveFleet {
  private readonly nodes = new Map<string, Node>();
  private target: MaestroConfig;
  private wanted: readonly FleetNode[];
  private keys: ReadonlyMap<string, string> = new Map();
  private later: FleetChange['later'] = [];
  /** Engines that have gone for another one of their name to come. */
  private readonly returning = new Set<string>();
  private modelled: readonly NodeSpec[];
  private stopped = false;

  constructor(private readonly options: LiveFleetOptions) {
    this.target = options.config;
    this.wanted = options.wanted;
    for (const node of this.wanted) {
      const engines = node.members.map((member): Member => ({ member, phase: 'serves' }));
      this.nodes.set(node.spec.nodeId, { node, engines });
    }
    this.modelled = this.inService();
  }

  /** The config that it follows. */
  get config(): MaestroConfig {
    return this.target;
  }

  /**
   * From now on this is what the file asks for. Throws, and changes nothing, where it cannot be had.
   *
   * @returns Names of what waits for a restart.
   */
  change(next: MaestroConfig): readonly string[] {
    const { config, urls, claimStateDir } = this.options;
    const keys = engineApiKeys(next);
    const wanted = fleetNodes(next, urls);
    // As a file does that is just being written. Whoever wants no fleet at all ends Maestro.
    if (wanted.length === 0 && this.nodes.size > 0)
      throw new MaestroError('invalid_request', 'the file names no nodes (fleet.nodes), and would end the whole fleet');
    // Emulated time is not that of servers.
    if (config.fleet.timeScale !== 1) return isDeepStrictEqual(wanted, this.wanted) ? [] : ['fleet.nodes'];
    const { waiting, join, later } = planFleetChange(this.serving(), wanted);
    if ([...join, ...later].some(({ launched }) => launched)) claimStateDir();
    this.target = next;
    this.follow(wanted, keys);
    return waiting;
  }

  /** From now on these are the engines to have, with these keys. */
  follow(wanted: readonly FleetNode[], keys: ReadonlyMap<string, string>): void {
    this.wanted = wanted;
    this.keys = keys;
    const { apiKeys } = this.options;
    for (const { member } of this.members()) {
      // One that this process has started has its key for as long as it runs.
      if (!member.launched) setOrDelete(apiKeys, member.spec.engineId, keys.get(member.spec.engineId));
    }
    void this.options.ready.catch(() => undefined).then(() => this.goOn());
  }

  /** Is an engine of the model about to come, once the one of its name is gone? */
  comesBack(model: string): boolean {
    return this.later.some(({ spec }) => spec.model === model);
  }

  /** Something is known of an engine that was not: one that has taken the place of another may answer now. */
  found(): void {
    const arrived = this.members().filter(({ member, phase }) => phase === 'arrives' && this.answers(member));
    for (const each of arrived) each.phase = 'serves';
    if (arrived.length > 0) this.goOn();
  }

  stop(): void {
    this.stopped = true;
  }

  /** Does all that can be done now. */
  private goOn(): void {
    if (this.stopped) return;
    const { levels, logger, watches, replays } = this.options;
    this.takeIn(planFleetChange(this.serving(), this.wanted));
    // Whoever waits for the turn of its model sees what has just come, and does not answer yet.
    const plan = planFleetChange(this.serving(), this.wanted);
    this.later = plan.later;
    if (plan.inTurn.length > 0) logger.info({ engines: plan.inTurn }, 'these engines are replaced one after another');
    for (const { member, leaving } of plan.leave) this.leave(member, leaving);
    for (const nodeId of plan.leaveNodes) {
      this.nodes.delete(nodeId);
      watches.end(nodeId);
      this.closed(levels.fleet.leaveNode(nodeId), { node: nodeId });
      logger.info({ node: nodeId }, 'the node has left the fleet');
    }
    const modelled = this.inService();
    if (!isDeepStrictEqual(modelled, this.modelled)) {
      this.modelled = modelled;
      levels.fleetChanged(modelled, replays(modelled));
    }
    // A node that was left may be wanted again with other hardware.
    if (plan.leaveNodes.length > 0) this.goOn();
  }

  private takeIn({ join, joinNodes }: Pick<FleetChange, 'join' | 'joinNodes'>): void {
    const { levels, logger, watches } = this.options;
    for (const node of joinNodes) {
      const { spec, telemetry } = node;
      const members = join.filter((member) => member.spec.nodeId === spec.nodeId);
      this.nodes.set(spec.nodeId, { node, engines: [] });
      logger.info({ node: spec.nodeId }, 'a node joins the fleet');
      for (const member of members) this.enter(member);
      void watches.begin(spec, telemetry);
      const whole = { ...spec, engines: members.map((member) => member.spec) };
      const tried = levels.fleet.joinNode(whole, this.options.stateDir);
      for (const member of members) this.startAfter(tried, member);
    }
    for (const member of join) {
      if (joinNodes.some(({ spec }) => spec.nodeId === member.spec.nodeId)) continue;
      this.enter(member);
      this.startAfter(levels.fleet.joinEngine(member.spec), member);
    }
    this.returning.clear();
  }

  private enter(member: FleetMember): void {
    const { logger, apiKeys } = this.options;
    const { engineId, nodeId, model } = member.spec;
    const phase = this.returning.delete(engineId) ? 'arrives' : 'serves';
    this.nodes.get(nodeId)!.engines.push({ member, phase });
    setOrDelete(apiKeys, engineId, this.keys.get(engineId));
    logger.info({ engine: engineId, node: nodeId, model }, 'an engine joins the fleet');
  }

  /** What runs already is found first, so that nothing is started into its memory. */
  private startAfter(tried: Promise<void>, { spec, launched }: FleetMember): void {
    const { target, keys } = this;
    if (!launched) return;
    void tried.then(() => {
      const here = this.members().find(({ member }) => member.launched === launched);
      if (here && here.phase !== 'ends' && !this.stopped)
        this.options.started()?.begin(target, spec.nodeId, launched, keys.get(spec.engineId));
    });
  }

  private leave(member: FleetMember, leaving: Leaving | undefined): void {
    const { levels, logger } = this.options;
    const { engineId, nodeId, model } = member.spec;
    const here = this.members().find((each) => each.member === member)!;
    here.phase = leaving ?? 'serves';
    levels.fleet.leaveEngine(nodeId, engineId, leaving, () => void this.end(here));
    logger.info({ engine: engineId, node: nodeId, model }, LEAVING[leaving ?? 'stays']);
  }

  /** Nothing runs on the engine any more. */
  private async end(here: Member): Promise<void> {
    if (here.phase === 'serves' || here.phase === 'arrives' || here.phase === 'ends') return;
    const { levels, logger, apiKeys, started } = this.options;
    const { engineId, nodeId } = here.member.spec;
    const returns = here.phase === 'to-return';
    here.phase = 'ends';
    if (here.member.launched) {
      await started()
        ?.end(engineId)
        .catch((err: unknown) => logger.error({ engine: engineId, err }, 'the engine could not be ended'));
    }
    if (this.stopped) return;
    // Forgotten and back in one turn, where it comes back: nobody sees the fleet without it.
    const closed = levels.fleet.forgetEngine(nodeId, engineId);
    apiKeys.delete(engineId);
    const { engines } = this.nodes.get(nodeId)!;
    engines.splice(engines.indexOf(here), 1);
    logger.info({ engine: engineId, node: nodeId }, 'the engine has left the fleet');
    if (returns) this.returning.add(engineId);
    this.goOn();
    this.closed(closed, { engine: engineId });
  }

  private closed(closing: Promise<void>, fields: object): void {
    closing.catch((err: unknown) => this.options.logger.error({ ...fields, err }, 'connections could not be closed'));
  }

  private members(): Member[] {
    return [...this.nodes.values()].flatMap(({ engines }) => engines);
  }

  private serving(): Node[] {
    return [...this.nodes.values()];
  }

  /** The nodes with the engines that are to be counted on. */
  private inService(): NodeSpec[] {
    return this.serving().map(({ node, engines }) => ({
      ...node.spec,
      engines: engines.flatMap(({ member, phase }) => (STAYING.has(phase) ? [member.spec] : [])),
    }));
  }

  private answers({ spec }: FleetMember): boolean {
    const state = this.options.levels.fleet.node(spec.nodeId)?.view(spec.engineId)?.state;
    return state !== undefined && state !== 'down';
  }
}

const STAYING: ReadonlySet<MemberPhase> = new Set(['serves', 'arrives', 'to-return']);

const LEAVING: Readonly<Record<Leaving | 'stays', string>> = {
  'for-good': 'the engine leaves the fleet when what runs on it has ended',
  'to-end': 'the engine leaves the fleet, and is ended, when what runs on it has ended',
  'to-return':
    'the engine is replaced when what runs on it has ended; until then its model is served by others, or waits',
  stays: 'the engine stays in the fleet after all',
};

function setOrDelete(map: Map<string, string>, key: string, value: string | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}
