import { KeyMemo } from '../model/key-memo.js';
import { LruMap } from '../model/lru-map.js';
import type { Stage, StageContext } from '../model/stage.js';
import { KeyedWindows, type KeyedWindowsState, thousandths } from './keyed-windows.js';
import { logBin } from './log-bin.js';
import { WindowQuantiles } from './window-quantiles.js';

/** Expected output tokens of a call, not yet limited by what the request allows. */
export interface LengthEstimate {
  readonly q30: number;
  readonly q50: number;
  readonly q95: number;
  readonly mean: number;
  /** Which estimator answered. */
  readonly source: LengthSource;
}

/** What looking up says of a call, and what it rests on. */
export interface LookedUpLength extends LengthEstimate {
  /** Median of earlier calls of this kind, without the agent's last answer; undefined while calls of this role are new. */
  readonly historyQ50: number | undefined;
}

/** Whether it rests on earlier calls of this kind, or of this agent. */
export function isOfKind({ source }: LengthEstimate): boolean {
  return source !== 'global' && source !== 'prior';
}

export type LengthSource =
  | 'model'
  | 'blend'
  | 'workflow'
  | 'agent-layer'
  | 'template-role'
  | 'model-role'
  | 'role'
  | 'global'
  | 'prior';

/** Answers of an agent whose name, model and template nobody has seen: the middle of the recorded multi-agent traces. */
const PRIOR: LookedUpLength = { q30: 100, q50: 200, q95: 1500, mean: 400, source: 'prior', historyQ50: undefined };

/** Calls that an estimator remembers. Long enough for a q95, short enough to follow a changed prompt within a few hundred calls. */
const WINDOW_CALLS = 128;
/** Fewer observations than this do not speak for a role. */
const MIN_CALLS = 8;
/** Weight of the newest call in the running errors by which the two ways of predicting a role are compared. */
const ERROR_WEIGHT = 0.05;

/** How well "as long as last time" predicts a role inside one workflow, against the role's own median. */
interface RepeatRecord {
  /** log(output) − log(last output of the role in the workflow). */
  readonly logRatios: WindowQuantiles;
  repeatErrorTokens: number;
  medianErrorTokens: number;
}

/** What {@link OutputLengths} saves. */
export interface OutputLengthsState {
  readonly windows: KeyedWindowsState;
  readonly layers?: KeyedWindowsState | undefined;
  readonly all: readonly number[];
  readonly repeats: readonly (readonly [
    key: string,
    repeat: {
      readonly logRatios: readonly number[];
      readonly repeatErrorTokens: number;
      readonly medianErrorTokens: number;
    },
  ])[];
}

const REPEAT_SAMPLES = 64;

/**
 * Online output lengths with back-off: the role's last answer in this workflow, then the statistics of (template, role, model, agent) in this layer of the
 * workflow, (template, role, model), (model, role), role, all calls, and a prior. Agents that repeat and rewrite are predicted best by their own last answer,
 * others by their role's median (recorded traces show either by a wide margin), so each role uses whichever has erred less.
 */
export class OutputLengths {
  private readonly windows: KeyedWindows;
  /** By layer; apart, so that their many names do not push the others out. */
  private readonly layers: KeyedWindows;
  private readonly repeats: LruMap<string, RepeatRecord>;
  private readonly all = new WindowQuantiles(4 * WINDOW_CALLS);

  constructor(maxCells: number) {
    this.windows = new KeyedWindows(maxCells, WINDOW_CALLS);
    this.layers = new KeyedWindows(maxCells, WINDOW_CALLS);
    this.repeats = new LruMap(maxCells);
  }

  estimate(stage: Stage, context: StageContext): LookedUpLength {
    const fromHistory = this.fromHistory(stage, context);
    const last = lastOf(context);
    if (last === undefined) return fromHistory;
    const { historyQ50 } = fromHistory;
    const repeat = this.repeats.peek(modelRoleKey(stage));
    if (!repeat || repeat.logRatios.count < MIN_CALLS) {
      // Nothing is known of this agent's habits yet: its last answer is the middle, the history's spread stays around it.
      const scale = Math.max(1, last) / Math.max(1, fromHistory.q50);
      return {
        q30: fromHistory.q30 * scale,
        q50: fromHistory.q50 * scale,
        q95: Math.max(fromHistory.q95, fromHistory.q95 * scale),
        mean: fromHistory.mean * scale,
        source: 'workflow',
        historyQ50,
      };
    }
    if (repeat.medianErrorTokens < repeat.repeatErrorTokens) return fromHistory;
    const base = Math.max(1, last);
    const at = (q: number) => base * Math.exp(repeat.logRatios.quantile(q));
    const q50 = at(0.5);
    // The mean of a heavy tail stands above its median by as much as it does in the history.
    const mean = q50 * meanOverMedian(fromHistory);
    return { q30: at(0.3), q50, q95: at(0.95), mean, source: 'workflow', historyQ50 };
  }

  /** Learns the true length of a call. Call it with the context that the call was predicted with. */
  observe(stage: Stage, context: StageContext, outputTokens: number): void {
    const last = lastOf(context);
    if (last !== undefined) this.observeRepeat(stage, context, last, outputTokens);
    this.layers.add(layerKey(stage, context), outputTokens);
    this.windows.add(templateRoleKey(stage), outputTokens);
    this.windows.add(modelRoleKey(stage), outputTokens);
    this.windows.add(roleKey(stage), outputTokens);
    this.all.add(outputTokens);
  }

  state(): OutputLengthsState {
    return {
      windows: this.windows.state(),
      layers: this.layers.state(),
      all: this.all.spread(WINDOW_CALLS).map(thousandths),
      repeats: [...this.repeats].map(([key, { logRatios, repeatErrorTokens, medianErrorTokens }]) => [
        key,
        { logRatios: logRatios.spread(REPEAT_SAMPLES).map(thousandths), repeatErrorTokens, medianErrorTokens },
      ]),
    };
  }

  restore(state: OutputLengthsState): void {
    this.windows.restore(state.windows);
    if (state.layers) this.layers.restore(state.layers);
    for (const tokens of state.all) this.all.add(tokens);
    for (const [key, { logRatios, repeatErrorTokens, medianErrorTokens }] of state.repeats) {
      const repeat = { logRatios: new WindowQuantiles(WINDOW_CALLS), repeatErrorTokens, medianErrorTokens };
      for (const ratio of logRatios) repeat.logRatios.add(ratio);
      this.repeats.set(key, repeat);
    }
  }

  private observeRepeat(stage: Stage, context: StageContext, lastTokens: number, outputTokens: number): void {
    const key = modelRoleKey(stage);
    let repeat = this.repeats.get(key);
    if (!repeat) {
      repeat = { logRatios: new WindowQuantiles(WINDOW_CALLS), repeatErrorTokens: 0, medianErrorTokens: 0 };
      this.repeats.set(key, repeat);
    }
    const medianError = Math.abs(outputTokens - this.fromHistory(stage, context).q50);
    const repeatError = Math.abs(outputTokens - lastTokens);
    repeat.medianErrorTokens += ERROR_WEIGHT * (medianError - repeat.medianErrorTokens);
    repeat.repeatErrorTokens += ERROR_WEIGHT * (repeatError - repeat.repeatErrorTokens);
    repeat.logRatios.add(Math.log(Math.max(1, outputTokens)) - Math.log(Math.max(1, lastTokens)));
  }

  private fromHistory(stage: Stage, context: StageContext): LookedUpLength {
    return (
      this.fromWindow(this.layers.peek(layerKey(stage, context)), 'agent-layer') ??
      this.fromWindow(this.windows.peek(templateRoleKey(stage)), 'template-role') ??
      this.fromWindow(this.windows.peek(modelRoleKey(stage)), 'model-role') ??
      this.fromWindow(this.windows.peek(roleKey(stage)), 'role') ??
      this.fromWindow(this.all, 'global') ??
      PRIOR
    );
  }

  private fromWindow(window: WindowQuantiles | undefined, source: LengthSource): LookedUpLength | undefined {
    if (!window || window.count < MIN_CALLS) return undefined;
    const q50 = window.quantile(0.5);
    return {
      q30: window.quantile(0.3),
      q50,
      q95: window.quantile(0.95),
      mean: window.mean,
      source,
      historyQ50: source === 'global' ? undefined : q50,
    };
  }
}

/** Last answer of the agent in this workflow, or of its role where agents are not told apart or this one has not answered yet. */
function lastOf({ past, lastRoleOutputTokens }: StageContext): number | undefined {
  return past?.ofAgent?.lastTokens ?? lastRoleOutputTokens;
}

function meanOverMedian(estimate: LengthEstimate): number {
  return Math.max(1, estimate.mean / Math.max(1, estimate.q50));
}

// Names come from clients and are charset-checked at the door, so that a newline cannot be part of one.
const TEMPLATE_ROLE = new KeyMemo((template, role, model) => `t\n${template}\n${role}\n${model}`);
const MODEL_ROLE = new KeyMemo((model, role) => `m\n${model}\n${role}`);
const ROLE = new KeyMemo((role) => `r\n${role}`);

const KIND = new KeyMemo((template, role, model) => `l\n${template}\n${role}\n${model}\n`);
const LAYER = new KeyMemo((own, layer) => `${own}\n${layer}`);

function layerKey({ template, role, model, agent }: Stage, { past, stageIndex }: StageContext): string {
  const kind = KIND.of(template, role, model);
  return LAYER.of(agent === undefined ? kind : kind + agent, String(logBin(past?.generation ?? stageIndex)));
}

function templateRoleKey({ template, role, model }: Stage): string {
  return TEMPLATE_ROLE.of(template, role, model);
}

function modelRoleKey({ model, role }: Stage): string {
  return MODEL_ROLE.of(model, role);
}

function roleKey({ role }: Stage): string {
  return ROLE.of(role, '');
}
