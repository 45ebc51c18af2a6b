import { KeyMemo } from '../model/key-memo.js';
import { LruMap } from '../model/lru-map.js';
import type { Stage, StageContext } from '../model/stage.js';
import { KeyedWindows, type KeyedWindowsState, thousandths } from './keyed-windows.js';
import { logBin } from './log-bin.js';
import { TextArm, type TextArmState } from './text-arm.js';
import type { WindowQuantiles } from './window-quantiles.js';

/** What has been seen of stages like this one; NaN where too little has. Logarithms of tokens are rounded, see {@link RunningStatistics}. */
export interface RunningFeatures {
  /** Of this (template, model, role, agent). */
  readonly q50: number;
  readonly q95: number;
  /** Of this (template, role). */
  readonly roleQ50: number;
  readonly roleQ95: number;
  /** Of this (model, role). */
  readonly modelQ50: number;
  /** Of this (template, model, role, agent) in this layer of the workflow, and with a prompt of this size, in octaves. */
  readonly phaseQ50: number;
  readonly promptQ50: number;
  /** Of this (template, model, role, agent) after what the same tool said. */
  readonly toolQ50: number;
  /**
   * Share of tool calls among the answers that could call one, of this (template, model, role) after an agent's last answer of the same kind (a tool call, another, or none
   * yet) and what the same tool said, if any; while that is new, of this (model, role).
   */
  readonly toolRate: number;
  /** What the words of the last message add to `q50`, see {@link TextArm}. */
  readonly textOverSeen: number;
}

interface ToolCounts {
  answers: number;
  calls: number;
}

const WINDOW_CALLS = 256;
const MIN_CALLS = 4;
/** Steps that the statistics are rounded to. Exact ones number the workflows, and trees would learn those by heart. */
const LOG_STEP = 0.25;
const RATE_STEP = 0.1;
/** Keeps about the last 200 answers. */
const TOOL_DECAY = 0.995;

export interface RunningStatisticsState {
  /** Logarithms of lengths. */
  readonly windows: KeyedWindowsState;
  readonly finer?: KeyedWindowsState | undefined;
  readonly text?: TextArmState | undefined;
  /** Answers that could call a tool, and calls, both decayed. */
  readonly tools: readonly (readonly [string, number, number])[];
}

/**
 * The running statistics of lengths, and the rate of tool calls, that the trained models take as features. They learn from every call that
 * ends, and are rounded: both keep trees from telling the workflows of the training apart by them.
 */
export class RunningStatistics {
  private readonly windows: KeyedWindows;
  /** By layer and by prompt; apart, so that their many names do not push the others out. */
  private readonly finer: KeyedWindows;
  private readonly tools: LruMap<string, ToolCounts>;
  private readonly text = new TextArm();

  constructor(maxCells: number) {
    this.windows = new KeyedWindows(maxCells, WINDOW_CALLS);
    this.finer = new KeyedWindows(maxCells, WINDOW_CALLS);
    this.tools = new LruMap(maxCells);
  }

  features(stage: Stage, context: StageContext): RunningFeatures {
    const own = this.windows.peek(ownKey(stage));
    const role = this.windows.peek(roleKey(stage));
    return {
      q50: quantile(own, 0.5),
      q95: quantile(own, 0.95),
      roleQ50: quantile(role, 0.5),
      roleQ95: quantile(role, 0.95),
      modelQ50: quantile(this.windows.peek(modelKey(stage)), 0.5),
      phaseQ50: quantile(this.finer.peek(phaseKey(stage, context)), 0.5),
      promptQ50: quantile(this.finer.peek(promptKey(stage)), 0.5),
      toolQ50: stage.features.lastTool === undefined ? Number.NaN : quantile(this.finer.peek(afterKey(stage)), 0.5),
      toolRate: this.toolRate(toolKey(stage, context)) ?? this.toolRate(modelKey(stage)) ?? Number.NaN,
      textOverSeen: this.text.estimate(stage.features),
    };
  }

  /** Learns from a call that ended: its length where it is known, and whether it called a tool where that was its own choice. */
  observe(
    stage: Stage,
    context: StageContext,
    outputTokens: number | undefined,
    toolCalled: boolean | undefined,
  ): void {
    if (outputTokens !== undefined) {
      const logTokens = Math.log1p(outputTokens);
      const { textGrams, textVector } = stage.features;
      if (textGrams || textVector) this.text.observe(stage.features, logTokens - this.exactMedian(stage));
      this.windows.add(ownKey(stage), logTokens);
      this.windows.add(roleKey(stage), logTokens);
      this.windows.add(modelKey(stage), logTokens);
      this.finer.add(phaseKey(stage, context), logTokens);
      this.finer.add(promptKey(stage), logTokens);
      if (stage.features.lastTool !== undefined) this.finer.add(afterKey(stage), logTokens);
    }
    if (toolCalled === undefined) return;
    this.countTool(toolKey(stage, context), toolCalled);
    this.countTool(modelKey(stage), toolCalled);
  }

  state(): RunningStatisticsState {
    return {
      windows: this.windows.state(),
      finer: this.finer.state(),
      ...(this.text.isEmpty ? {} : { text: this.text.state() }),
      tools: [...this.tools].map(([key, { answers, calls }]) => [key, thousandths(answers), thousandths(calls)]),
    };
  }

  restore(state: RunningStatisticsState): void {
    this.windows.restore(state.windows);
    if (state.finer) this.finer.restore(state.finer);
    if (state.text) this.text.restore(state.text);
    for (const [key, answers, calls] of state.tools) this.tools.set(key, { answers, calls });
  }

  /** Of the kind of call, or of its role while that is new; NaN while nothing is known. */
  private exactMedian(stage: Stage): number {
    const known = [ownKey(stage), roleKey(stage), modelKey(stage)].map((key) => this.windows.peek(key));
    return known.find((window) => window && window.count >= MIN_CALLS)?.quantile(0.5) ?? Number.NaN;
  }

  private toolRate(key: string): number | undefined {
    const counts = this.tools.peek(key);
    return counts && counts.answers >= MIN_CALLS ? round(counts.calls / counts.answers, RATE_STEP) : undefined;
  }

  private countTool(key: string, toolCalled: boolean): void {
    const counts = this.tools.get(key) ?? { answers: 0, calls: 0 };
    counts.answers = counts.answers * TOOL_DECAY + 1;
    counts.calls = counts.calls * TOOL_DECAY + (toolCalled ? 1 : 0);
    this.tools.set(key, counts);
  }
}

function quantile(window: WindowQuantiles | undefined, q: number): number {
  return window && window.count >= MIN_CALLS ? round(window.quantile(q), LOG_STEP) : Number.NaN;
}

/** Logarithm of 1 + the quantity, as the trees get to see a statistic. */
export function roundedLog(quantity: number): number {
  return round(Math.log1p(quantity), LOG_STEP);
}

function round(value: number, step: number): number {
  return Math.round(value / step) * step;
}

const KIND = new KeyMemo((template, model, role) => `o\n${template}\n${model}\n${role}\n`);
const PHASE = new KeyMemo((own, layer) => `p${own}\n${layer}`);
const PROMPT = new KeyMemo((own, size) => `s${own}\n${size}`);
const AFTER = new KeyMemo((own, lastTool) => `a${own}\n${lastTool}`);
const TOOL = new KeyMemo((kind, called, lastTool) => `t${kind.slice(1)}${called}\n${lastTool}`);
const ROLE = new KeyMemo((template, role) => `r\n${template}\n${role}`);
const MODEL = new KeyMemo((model, role) => `m\n${model}\n${role}`);

function ownKey({ template, model, role, agent }: Stage): string {
  const kind = KIND.of(template, model, role);
  return agent === undefined ? kind : kind + agent;
}

function phaseKey(stage: Stage, { past, stageIndex }: StageContext): string {
  return PHASE.of(ownKey(stage), String(logBin(past?.generation ?? stageIndex)));
}

function promptKey(stage: Stage): string {
  return PROMPT.of(ownKey(stage), String(Math.round(Math.log2(1 + stage.promptTokens))));
}

function afterKey(stage: Stage): string {
  return AFTER.of(ownKey(stage), stage.features.lastTool ?? '');
}

function roleKey({ template, role }: Stage): string {
  return ROLE.of(template, role);
}

function toolKey({ template, model, role, features }: Stage, { past }: StageContext): string {
  return TOOL.of(KIND.of(template, model, role), String(past?.agentToolCalled ?? ''), features.lastTool ?? '');
}

function modelKey({ model, role }: Stage): string {
  return MODEL.of(model, role);
}
