import { type CallExample, type CallHistory, taughtTokens } from '../examples.js';
import { medianOf } from '../metrics.js';

/** Medians of the output tokens of the calls that were trained on, by what is known of a call. They never change afterwards: what predictions are compared with. */
export interface StaticMedians {
  readonly global: number;
  /** By (template, role). */
  readonly role: Readonly<Record<string, number>>;
  /** By (template, model, role, agent). */
  readonly agent: Readonly<Record<string, number>>;
  /** The same by layer: how often a call of the workflow had begun after others had finished. */
  readonly layer: Readonly<Record<string, number>>;
  /** By (template, model, role, agent) and the kind of the last message. */
  readonly message: Readonly<Record<string, number>>;
}

/** Calls behind a median of the finer kinds; below it the coarser one says more. */
const MIN_CALLS = 5;

type Grouping = Exclude<keyof StaticMedians, 'global'>;

const KEYS: Readonly<Record<Grouping, (call: CallExample) => string>> = {
  role: ({ stage }) => `${stage.template} ${stage.role}`,
  agent: ({ stage }) => `${stage.template} ${stage.model} ${stage.role} ${stage.agent ?? '-'}`,
  layer: (call) => `${KEYS.agent(call)} ${call.context.past?.generation ?? call.context.stageIndex}`,
  message: (call) => `${KEYS.agent(call)} ${call.stage.features.lastMessageKind}`,
};

export function staticMedians({ calls }: CallHistory): StaticMedians {
  const groups = { role: new Groups(), agent: new Groups(), layer: new Groups(), message: new Groups() };
  const all: number[] = [];
  for (const call of calls) {
    const tokens = taughtTokens(call.outcome);
    if (tokens === undefined) continue;
    all.push(tokens);
    for (const grouping of Object.keys(groups) as Grouping[]) groups[grouping].add(KEYS[grouping](call), tokens);
  }
  return {
    global: medianOf(all) ?? 0,
    role: groups.role.medians(1),
    agent: groups.agent.medians(MIN_CALLS),
    layer: groups.layer.medians(MIN_CALLS),
    message: groups.message.medians(MIN_CALLS),
  };
}

class Groups {
  private readonly lengths = new Map<string, number[]>();

  add(key: string, tokens: number): void {
    const list = this.lengths.get(key);
    if (list) list.push(tokens);
    else this.lengths.set(key, [tokens]);
  }

  medians(minCalls: number): Record<string, number> {
    const known = [...this.lengths].filter(([, list]) => list.length >= minCalls);
    return Object.fromEntries(known.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, list]) => [key, medianOf(list)!]));
  }
}

type Lookup = (medians: StaticMedians, call: CallExample) => number;

const ofRole: Lookup = (medians, call) => medians.role[KEYS.role(call)] ?? medians.global;
const ofAgent: Lookup = (medians, call) => medians.agent[KEYS.agent(call)] ?? ofRole(medians, call);

/** Ways to predict a length by looking something up, without a model. What nobody was trained on falls back to the coarser table. */
export const LOOKUPS = {
  globalMedian: (medians) => medians.global,
  roleMedian: ofRole,
  agentMedian: ofAgent,
  agentLayerMedian: (medians, call) => medians.layer[KEYS.layer(call)] ?? ofAgent(medians, call),
  agentMessageMedian: (medians, call) => medians.message[KEYS.message(call)] ?? ofAgent(medians, call),
  lastOfAgent: (medians, call) => call.context.past?.ofAgent?.lastTokens ?? ofAgent(medians, call),
  lastOfRole: (medians, call) => call.context.past?.ofRole?.lastTokens ?? ofAgent(medians, call),
} as const satisfies Record<string, Lookup>;

export type LookupName = keyof typeof LOOKUPS;
