import { Counter, Gauge, type Registry } from 'prom-client';
import type { EngineSnapshot, FleetSnapshot } from '../bus/contract.js';
import type { EngineState, Residency } from '../model/fleet.js';

/** As a record, so that a state that is new is missed here by the compiler and not on the page. */
const STATES: Readonly<Record<EngineState, true>> = {
  down: true,
  running: true,
  draining: true,
  'falling-asleep': true,
  sleeping: true,
  'sleeping-deep': true,
  waking: true,
  failed: true,
  leaving: true,
};
const ENGINE_STATES = Object.keys(STATES) as EngineState[];
const TIERS: readonly Residency[] = ['running', 'sleeping', 'host', 'disk', 'remote'];

type Series = readonly [labels: Readonly<Record<string, string>>, value: number];

/**
 * Exports what the levels know: who waits, what each engine does, who has the memory. All of it is read when the page is asked for, so serving pays nothing for it. Labels are the
 * names of the config or of the servers given by URL, so callers cannot add series.
 */
export function exportFleet(registry: Registry, fleet: () => FleetSnapshot): void {
  const look = onceATurn(fleet);
  const gauge = (name: string, help: string, labelNames: string[], series: (fleet: FleetSnapshot) => Series[]) =>
    new Gauge({
      ...{ name, help, labelNames, registers: [registry] },
      collect() {
        this.reset();
        for (const [labels, value] of numbersOf(series(look()))) this.set(labels, value);
      },
    });
  const counter = (name: string, help: string, labelNames: string[], series: (fleet: FleetSnapshot) => Series[]) =>
    new Counter({
      ...{ name, help, labelNames, registers: [registry] },
      collect() {
        this.reset();
        for (const [labels, value] of numbersOf(series(look()))) this.inc(labels, value);
      },
    });
  const ofEngines =
    (series: (engine: EngineSnapshot) => Series[]) =>
    ({ engines }: FleetSnapshot): Series[] =>
      engines.flatMap((engine) => {
        const { nodeId, engineId, model } = engine;
        const own = { node: nodeId, engine: engineId, model };
        return series(engine).map(([labels, value]): Series => [{ ...own, ...labels }, value]);
      });
  const ENGINE = ['node', 'engine', 'model'];

  gauge(
    'maestro_workflows_open',
    'Workflows that have begun and are not over; one without calls is over after three minutes',
    [],
    ({ openWorkflows }) => [[{}, openWorkflows]],
  );
  gauge(
    'maestro_queued_stages',
    'Calls waiting in our queue, by model; when it grows while engines have free seats, memory is short: look at maestro_kv_tokens',
    ['model'],
    ({ queued }) => Object.entries(queued).map(([model, count]): Series => [{ model }, count]),
  );
  gauge(
    'maestro_flood_seat_share',
    'Share of the seats of a model that its calls fill while more single calls wait than can be in time, so that those which run end in time; missing where there is no such flood',
    ['model'],
    ({ floods }) => Object.entries(floods).map(([model, share]): Series => [{ model }, share]),
  );
  gauge(
    'maestro_engine_state',
    '1 for the state that an engine is in; when it is failed or down, look at its log and run maestro doctor',
    [...ENGINE, 'state'],
    ofEngines((engine) => ENGINE_STATES.map((state): Series => [{ state }, engine.state === state ? 1 : 0])),
  );
  gauge(
    'maestro_engine_weights',
    '1 for the place that an engine would have to bring its weights from',
    [...ENGINE, 'tier'],
    ofEngines((engine) => TIERS.map((tier): Series => [{ tier }, engine.weights === tier ? 1 : 0])),
  );
  gauge(
    'maestro_engine_requests',
    'Requests inside an engine by its own gauges, and the seats that our calls take of it; when waiting grows, the engine gets calls past Maestro or has fewer seats than stated',
    [...ENGINE, 'part'],
    ofEngines(({ running, waiting, leases }) => [
      ...(running === undefined ? [] : [[{ part: 'running' }, running] as const]),
      ...(waiting === undefined ? [] : [[{ part: 'waiting' }, waiting] as const]),
      [{ part: 'leased' }, leases],
    ]),
  );
  gauge(
    'maestro_engine_seats',
    'How many calls an engine is given at once at most; falls where prompts take most of its time, or after preemptions. Missing where nothing limits them',
    ENGINE,
    ofEngines(({ seats }) => (seats === undefined ? [] : [[{}, seats]])),
  );
  gauge(
    'maestro_kv_tokens',
    'KV memory of an engine in tokens: promised to calls, kept for workflows in a tool call, used, and the pool (0: not known)',
    [...ENGINE, 'part'],
    ofEngines(({ kvReservedTokens, kvKeptTokens, kvUsedTokens, kvPoolTokens }) => [
      [{ part: 'reserved' }, kvReservedTokens],
      [{ part: 'kept' }, kvKeptTokens],
      [{ part: 'used' }, kvUsedTokens],
      [{ part: 'pool' }, kvPoolTokens],
    ]),
  );
  gauge(
    'maestro_gpu_memory_bytes',
    'GPU memory in our account, and all of it; when used stays near total and calls queue, more models are wanted than fit',
    ['node', 'gpu', 'part'],
    ({ gpus }) =>
      gpus.flatMap(({ nodeId, gpu, usedBytes, totalBytes }): Series[] => [
        [{ node: nodeId, gpu: String(gpu), part: 'used' }, usedBytes],
        [{ node: nodeId, gpu: String(gpu), part: 'total' }, totalBytes],
      ]),
  );
  counter(
    'maestro_kv_seconds_total',
    'KV memory over time (byte-seconds, or token-seconds where no engine tells its bytes): reserved, what max_tokens would have reserved, used; reserved / max_tokens is what prediction saves',
    ['of', 'unit'],
    ({ kv: { unit, reservedByteSeconds, maxTokenByteSeconds, usedByteSeconds } }) => [
      [{ of: 'reserved', unit }, reservedByteSeconds],
      [{ of: 'max_tokens', unit }, maxTokenByteSeconds],
      [{ of: 'used', unit }, usedByteSeconds],
    ],
  );
  counter(
    'maestro_weight_moves_total',
    'Weights moved: engines put to sleep and woken, and moves that failed; when failures rise, look at the log and at maestro_gpu_memory_bytes',
    ['kind'],
    ({ moves: { sleeps, wakes, failures } }) => [
      [{ kind: 'sleep' }, sleeps],
      [{ kind: 'wake' }, wakes],
      [{ kind: 'failure' }, failures],
    ],
  );
  counter(
    'maestro_cold_start_wait_seconds_total',
    'How long calls waited for weights, in sum; when it rises fast, pin the models that matter or give fewer models to a GPU',
    [],
    ({ coldStarts }) => [[{}, coldStarts.requestSeconds]],
  );
  counter(
    'maestro_preemptions_total',
    'Calls that engines had to begin anew for lack of KV memory; when it rises, lower scheduling.kvOverflowTarget',
    [],
    ({ preemptions }) => [[{}, preemptions]],
  );
  gauge('maestro_order_info', '1 for the order that serves', ['policy'], ({ policy }) => [[{ policy }, 1]]);
  counter(
    'maestro_order_evaluations_total',
    'How often the self-tuning order has replayed the last minutes, and changed the order',
    ['result'],
    ({ portfolio }) =>
      portfolio
        ? [
            [{ result: 'kept' }, portfolio.evaluations - portfolio.switches],
            [{ result: 'changed' }, portfolio.switches],
          ]
        : [],
  );
}

/** One that is no number would keep all the others from being told. */
function numbersOf(series: readonly Series[]): Series[] {
  return series.filter(([, value]) => Number.isFinite(value));
}

/** All metrics of a page are of one look: what is read is kept until the event loop turns. */
function onceATurn<T>(read: () => T): () => T {
  let kept: { readonly value: T } | undefined;
  return () => {
    if (!kept) {
      kept = { value: read() };
      setImmediate(() => {
        kept = undefined;
      });
    }
    return kept.value;
  };
}
