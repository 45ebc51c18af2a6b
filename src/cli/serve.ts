import type { Registry } from 'prom-client';
import { createLocalLevels } from '../bus/local.js';
import { WallClock } from '../bus/wall-clock.js';
import { fleetNodes } from '../config/fleet-change.js';
import { engineApiKeys } from '../config/keys.js';
import type { LoadedConfig } from '../config/load.js';
import { toEmulatedNodes, toNodeSpecs } from '../config/node-specs.js';
import type { MaestroConfig } from '../config/schema.js';
import { stepShapes } from '../config/service-times.js';
import { type EmulatedFleet, startEmulatedFleet } from '../engine/emulator/fleet.js';
import { serviceTimes } from '../engine/service-times.js';
import { claimStateDir } from '../engine/supervise/state-lock.js';
import { readGpuDetails } from '../engine/telemetry/nvidia-smi-xml.js';
import type { EngineTls } from '../engine/vllm/engine-tls.js';
import { createGateway, createGatewayMetrics } from '../gateway/index.js';
import type { GlobalService } from '../global/service.js';
import type { NodeSpec } from '../model/fleet.js';
import { createLogger, type Logger } from '../observe/log.js';
import { exportTotal } from '../observe/metrics.js';
import { WorkflowMetrics } from '../observe/workflow-metrics.js';
import { keepLearned, prepareLivePrediction } from '../predict/live/service.js';
import { RetrainingService } from '../predict/retraining/service.js';
import { doorCredentials } from './door-tls.js';
import { emulatedTelemetry, GpuWatches } from './gpu-telemetry.js';
import { hostAvailableBytes } from './host-memory.js';
import { listen, refuseItself, refuseStrangers, refuseTakenPort } from './listening.js';
import { ConfigReload, gatewayConfig, withLiveFields } from './live-config.js';
import { LiveFleet } from './live-fleet.js';
import { liveTextVectors } from './live-text-vectors.js';
import { modelPathOf, packageVersion } from './package-files.js';
import type { PassedSocket } from './passed-socket.js';
import { rehearse } from './rehearsal.js';
import { startReplayThread } from './replay-thread.js';
import { ResidueGuard } from './residue-guard.js';
import { exportLevels } from './served-metrics.js';
import type { ServerNames } from './server-names.js';
import { prepareProcess } from './server-process.js';
import { simRules } from './sim-rules.js';
import { hasLaunches, type StartedEngines, startEngines } from './started-engines.js';
import { tlsOfConfig } from './tls-options.js';
import { startTrainingThread } from './training-thread.js';
import { discoveredFleet, discoveredNodes, vllmApiKeys } from './vllm-urls.js';

/** Wall milliseconds that the door stays shut at most while engines are looked for. One that listens and does not answer is given up after ten seconds only. */
const FIRST_LOOK_MS = 3_000;

export interface ServeOptions {
  readonly config: MaestroConfig;
  /** The file that it was read from, so that it can be read again. */
  readonly loaded?: LoadedConfig | undefined;
  /** Base URLs of vLLM servers of which nothing else is known; they take the place of the config's fleet. */
  readonly vllmUrls?: readonly string[];
  /** Where those may change. */
  readonly vllmNames?: ServerNames;
  /** API key of those servers. */
  readonly vllmApiKey?: string | undefined;
  /** For those of them at `https://` URLs. */
  readonly vllmTls?: EngineTls | undefined;
  readonly port?: number;
  readonly host?: string;
  /** Listens already, and is served on in place of `host` and `port`. */
  readonly socket?: PassedSocket | undefined;
  /** Serve other machines without any key, whatever the config says. */
  readonly insecure?: boolean;
  /** Compile what serves before clients need it, in the background while none is there. */
  readonly rehearsal?: boolean;
}

/** A running `maestro up`. */
export interface Served {
  readonly scheduling: GlobalService;
  readonly address: string;
  /** Clock of the levels: emulated milliseconds where the fleet is. */
  readonly clock: WallClock;
  readonly fleet: EmulatedFleet | undefined;
  /** Reads the config file again; what is wrong with it is logged and changes nothing. Absent where the config is of no file. */
  readonly reload: (() => void) | undefined;
  /** Drains and ends everything, engines included. */
  stop(drainMs: number): Promise<void>;
  /** Tells the engines that this process has started to end, where the config does not keep them, and waits for nothing. */
  abandon(): void;
}

/**
 * Starts the emulated engines that the config asks for, the levels and the gateway in this process. Throws before anything is started or taken over where other
 * machines would be let in without a key, the port is taken, or another process has the engines.
 */
export async function serve(options: ServeOptions): Promise<Served> {
  const { socket } = options;
  const host = socket?.host ?? options.host ?? options.config.listen.host;
  refuseStrangers(options, host);
  prepareProcess();
  const { config } = options;
  const { timeScale } = config.fleet;
  // Keys that are in no variable end a start before anything runs that would have to be ended.
  const gatewaySettings = gatewayConfig(config);
  const wallClock = new WallClock();
  const apiKeys = options.vllmUrls ? vllmApiKeys(options.vllmUrls, options.vllmApiKey) : engineApiKeys(config);
  const port = socket?.port ?? options.port ?? config.listen.port;
  refuseItself(options, host, port);
  if (!socket) await refuseTakenPort(port, host);
  const launched = options.vllmUrls ? { ...config, fleet: { ...config.fleet, nodes: [] } } : config;
  let giveBackState: (() => void) | undefined;
  const claim = () => {
    giveBackState ??= claimStateDir(config.fleet.stateDir);
  };
  const logger = createLogger({ level: config.observe.logLevel });
  const tls = doorCredentials(config, wallClock, logger);
  if (hasLaunches(launched)) claim();
  logger.info(
    { version: packageVersion(), node: process.version, pid: process.pid, file: options.loaded?.file },
    'maestro starts',
  );
  const clock = new WallClock(timeScale);
  const emulated = options.vllmUrls ? [] : toEmulatedNodes(config);
  const fleet = emulated.length > 0 ? await startEmulatedFleet({ nodes: emulated, timeScale, logger }) : undefined;
  let started: StartedEngines | undefined;
  let liveFleet: LiveFleet | undefined;
  try {
    const urls = new Map(fleet?.engines.map(({ engineId, url }) => [engineId, url]));
    const nodes = options.vllmUrls ? discoveredNodes(options.vllmUrls) : toNodeSpecs(config, urls);
    const engineTls = options.vllmUrls ? options.vllmTls : tlsOfConfig(config, wallClock, logger);
    const isEmulated = (nodeId: string) => emulated.some((each) => each.nodeId === nodeId);
    const watches = new GpuWatches(wallClock, logger);
    const telemetryOf = (nodeId: string) => config.fleet.nodes.find(({ id }) => id === nodeId)?.telemetry ?? 'none';
    const real = nodes.filter(({ nodeId }) => !isEmulated(nodeId));
    await Promise.all(real.map((node) => watches.begin(node, telemetryOf(node.nodeId))));
    const { scheduling: rules, classes } = config;
    const tunes = rules.policy === 'maestro' && rules.portfolio.cpuShare > 0;
    const { node, queue } = simRules(config);
    const { queueMs } = config.gateway.timeouts;
    const impatient = { ...queue, interactiveTimeoutMs: queueMs, batchTimeoutMs: queueMs };
    const { stateFile, retrainEvery } = config.prediction;
    const retrainedFile = stateFile === undefined ? undefined : `${stateFile}.model.onnx`;
    const prediction = await prepareLivePrediction({
      modelPath: modelPathOf(config.prediction.model),
      stateFile,
      retrainedFile,
      log: logger,
    });
    const metrics = createGatewayMetrics(config.classes.map(({ name }) => name));
    const workflowMetrics = new WorkflowMetrics(
      metrics.registry,
      config.classes.map(({ name }) => name),
    );
    const replaysOn = (served: readonly NodeSpec[]) =>
      startReplayThread({ nodes: served, classes, rttMs: {}, ...rules, node, queue: impatient });
    const replays = tunes ? replaysOn(nodes) : undefined;
    let serviceTimesNow = serviceTimes(stepShapes(config));
    const levels = createLocalLevels({
      config,
      nodes,
      clock,
      wallClock,
      logger,
      engineTls,
      engineApiKeys: apiKeys,
      serviceTimeMs: (...call) => serviceTimesNow(...call),
      prediction,
      replays,
      telemetry: (nodeId: string) =>
        fleet && isEmulated(nodeId) ? emulatedTelemetry(fleet, nodeId) : watches.get(nodeId),
      hostAvailableBytes: (node: NodeSpec) =>
        isEmulated(node.nodeId) ? undefined : hostAvailableBytes(node, launched),
      failedGpus: (nodeId: string) => {
        const watch = watches.get(nodeId);
        return watch && (() => watch.failedGpus());
      },
      onRefused: (engineId, forMs) => started?.refused(engineId, forMs),
      onFound: () => liveFleet?.found(),
      comesBack: (model) => started?.comesBack(model) === true || liveFleet?.comesBack(model) === true,
      isFetching: (engineId) => started?.isFetching(engineId) ?? false,
      onWorkflowOver: (workflow) => workflowMetrics.ended(workflow),
    });
    const { scheduling } = levels;
    const stateOf = (engineId: string) => scheduling.fleet().engines.find((each) => each.engineId === engineId)?.state;
    const textVectors = liveTextVectors(config.prediction, wallClock, logger);
    exportLevels(metrics.registry, levels, watches, textVectors);
    const gateway = createGateway({
      scheduling,
      clock,
      wallClock,
      config: gatewaySettings,
      logger,
      ...{ metrics, textVectors, tls },
    });
    const keeper = stateFile === undefined ? undefined : keepLearned(levels, stateFile, wallClock, logger);
    const retraining =
      retrainEvery === undefined
        ? undefined
        : new RetrainingService({
            ...{ predictor: levels.predictor, thread: startTrainingThread(), everyCalls: retrainEvery },
            ...{ modelFile: retrainedFile, log: logger },
          });
    let guard: ResidueGuard | undefined;
    let stopping = false;
    const stop = async (drainMs: number) => {
      stopping = true;
      options.vllmNames?.stop();
      liveFleet?.stop();
      await gateway.close(drainMs);
      await levels.stop();
      await textVectors?.close();
      await keeper?.close();
      await retraining?.close();
      watches.endAll();
      guard?.stop();
      await Promise.all([started?.endAll(config.fleet), fleet?.stop()]);
      giveBackState?.();
    };
    // Engines that run already are found first, so that none is started into their memory.
    const found = levels.start().then(() => {
      if (stopping) return;
      const { mayStart } = levels;
      const starting = startEngines(launched, { clock: wallClock, logger, mayStart, tls: engineTls });
      started = starting;
      const supervisors = () => starting.supervisors.filter(({ engineId }) => tellsProcesses(liveFleet, engineId));
      guard = new ResidueGuard({ supervisors, readDetails: readGpuDetails, clock: wallClock, logger, stateOf });
      guard.start();
    });
    found.catch((err: unknown) => logger.error({ err }, 'engines could not be started'));
    const live = new LiveFleet({
      ...{ config: launched, urls, levels, ready: found, started: () => started, watches, apiKeys, logger },
      wanted: options.vllmUrls ? discoveredFleet(options.vllmUrls) : fleetNodes(config, urls),
      stateDir: options.vllmUrls ? undefined : config.fleet.stateDir,
      claimStateDir: claim,
      replays: (served) => replays && replaysOn(served),
    });
    liveFleet = live;
    options.vllmNames?.watch(wallClock, logger, (found) =>
      live.follow(discoveredFleet(found), vllmApiKeys(found, options.vllmApiKey)),
    );
    // One that hangs does not keep the others from serving.
    await Promise.race([found, new Promise<void>((resolve) => wallClock.after(FIRST_LOOK_MS, resolve))]);
    try {
      await listen(() => (socket ? gateway.listenOn(socket.fd) : gateway.listen(port, host)), port, host);
    } catch (error) {
      await stop(0);
      throw error;
    }
    if (options.rehearsal) {
      // Requests that come meanwhile do the same, and should not have to share.
      const stopped = () => stopping || gateway.openRequests > 0;
      void rehearse({ config, gateway: gatewaySettings, model: prediction.model, stopped });
    }
    const reload = reloading(options, metrics.registry, logger, (next) => {
      refuseStrangers({ ...options, config: next }, host);
      refuseItself({ ...options, config: next }, host, Number(new URL(gateway.address).port));
      const settings = gatewayConfig(next);
      const waiting = live.change(next);
      serviceTimesNow = serviceTimes(stepShapes(next));
      gateway.reconfigure(settings);
      scheduling.rename(next.aliases);
      tls?.look();
      logger.level = next.observe.logLevel;
      return waiting;
    });
    const abandon = () => started?.endAtOnce(config.fleet);
    return { scheduling, address: gateway.address, clock, fleet, reload, stop, abandon };
  } catch (error) {
    await Promise.all([started?.endAll(config.fleet), fleet?.stop()]);
    giveBackState?.();
    throw error;
  }
}

/** The config file read again, as far as that can take effect; undefined where there is none. */
function reloading(
  { config, loaded }: ServeOptions,
  registry: Registry,
  logger: Logger,
  apply: (config: MaestroConfig) => readonly string[],
): (() => void) | undefined {
  if (loaded === undefined) return undefined;
  const reload = new ConfigReload(loaded, (next) => apply(withLiveFields(config, next)), logger);
  exportTotal(
    registry,
    'maestro_config_reloads_total',
    'Times that the config file was read again',
    () => reload.reloads,
  );
  exportTotal(
    registry,
    'maestro_config_reload_failures_total',
    'Times that it could not be used, so that the former one serves on; the log has what is wrong with it',
    () => reload.failures,
  );
  return () => reload.reload();
}

/** Does `nvidia-smi` tell what the processes on the engine's node hold of its GPUs? */
function tellsProcesses(live: LiveFleet | undefined, engineId: string): boolean {
  const nodes = live?.config.fleet.nodes ?? [];
  return nodes.some((node) => node.telemetry === 'nvidia-smi' && node.engines.some(({ id }) => id === engineId));
}
