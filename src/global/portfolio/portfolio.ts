import type { OrderingPolicy } from '../order/policy.js';
import type { ReplayRequest, ReplayResult, ReplayScore } from './replay.js';
import { planReplay } from './replay-plan.js';
import { TrafficWindow, type TrafficWindowConfig } from './traffic-window.js';

export interface PortfolioConfig {
  /** The orderings to choose from, under unique names. */
  readonly candidates: readonly OrderingPolicy[];
  /** Name of the one that serves until something is known. */
  readonly prior: string;
  /** Evaluations are at least so far apart. */
  readonly intervalMs: number;
  /** Share of one core that replays may take on average, in (0, 1]. */
  readonly cpuShare: number;
  /** CPU milliseconds of one evaluation at most. */
  readonly maxEvaluationMs: number;
  /** Attainment by which another ordering must lead on average to take over. */
  readonly lead: number;
  /**
   * How clear the lead must be, in standard deviations of chance: of the workflows that are in time under only one of the two, the gained less the lost, over the root of their sum
   * (McNemar's test). Workflows of one replay are not independent, so this is above the usual 2.
   */
  readonly clearness: number;
  /** The same for a candidate that has been tried only once against the incumbent: one replay may go wrong in many places for one reason. */
  readonly clearnessAtOnce: number;
  /** Weight of the newest evaluation in the mean lead, in (0, 1]. */
  readonly newest: number;
  /** Candidates tried in an evaluation, and how many evaluations apart all are tried. */
  readonly tried: number;
  readonly allEvery: number;
  /** No ordering takes over while what replays promise is on average so far from what comes of it, as a share of workflows. */
  readonly maxDoubt: number;
  /** Less traffic than this says nothing. */
  readonly minWorkflows: number;
  /** Stages of one replay at most. */
  readonly maxStages: number;
  /** One in how many workflows may be replayed on as small a part of the fleet, in rising order; see {@link thinnings}. */
  readonly thinnings: readonly number[];
  /** Share of stages that must have waited for a turn; order does not matter to the others. */
  readonly minDelayedShare: number;
  readonly traffic?: Partial<TrafficWindowConfig>;
}

const DEFAULT_PORTFOLIO_CONFIG: Omit<PortfolioConfig, 'candidates' | 'prior'> = {
  intervalMs: 45_000,
  cpuShare: 0.05,
  maxEvaluationMs: 6_000,
  lead: 0.02,
  clearness: 3,
  clearnessAtOnce: 4.5,
  newest: 0.35,
  maxDoubt: 0.25,
  tried: 5,
  allEvery: 4,
  minWorkflows: 20,
  maxStages: 6_000,
  thinnings: [1],
  minDelayedShare: 0.01,
};

/** One evaluation and what came of it, for `explain` and the logs. */
export interface PortfolioEntry {
  readonly atMs: number;
  /** What served until then, and from then on. */
  readonly incumbent: string;
  readonly chosen: string;
  readonly reason: string;
  /** Workflows and stages that were replayed, and the CPU time of it. */
  readonly workflows: number;
  readonly stages: number;
  readonly costMs: number;
  readonly scores: readonly ReplayScore[];
  /** Share of the workflows in time since the evaluation before; undefined where too few have ended to say. */
  readonly observed: number | undefined;
  /** How far from that what replays promised has been, on average of late. */
  readonly doubt: number;
}

export interface PortfolioStats {
  /** Name of the ordering that serves. */
  readonly chosen: string;
  readonly evaluations: number;
  readonly switches: number;
  /** CPU milliseconds of all replays. */
  readonly spentMs: number;
}

interface Candidate {
  readonly policy: OrderingPolicy;
  /** Mean lead over the incumbent, newest evaluations first. */
  lead: number;
  /** Workflows that it gained and lost against the incumbent, newest evaluations first. */
  gained: number;
  lost: number;
  /** Evaluations that tried it against the present incumbent. */
  tries: number;
  /** Number of the last evaluation that tried it; −1 for never. */
  triedIn: number;
}

/** Attainment that a tardiness of 1 (everything just in time) is worth: decides only between orderings of equal attainment. */
const TARDINESS_WEIGHT = 0.01;
const LOG_ENTRIES = 64;

/**
 * Chooses the ordering policy by replaying the scheduler's own last minutes under each. Pure: it hands out requests for replays, somebody else runs them, and their results come back here.
 * The incumbent stays unless another one clearly leads, so that chance does not move the order to and fro.
 */
export class Portfolio {
  readonly traffic: TrafficWindow;
  private readonly config: PortfolioConfig;
  private readonly candidates: ReadonlyMap<string, Candidate>;
  private incumbent: Candidate;
  private evaluation = 0;
  private nextMs: number | undefined;
  private pending: { readonly workflows: number; readonly stages: number } | undefined;
  private readonly entries: PortfolioEntry[] = [];
  /** What the last evaluation promised of the ordering that has served since. */
  private promised: number | undefined;
  private ended = 0;
  private inTime = 0;
  private doubt = 0;
  private submitted = 0;
  private delayed = 0;
  private spentMs = 0;
  private switches = 0;

  constructor(config: Partial<PortfolioConfig> & Pick<PortfolioConfig, 'candidates' | 'prior'>) {
    this.config = { ...DEFAULT_PORTFOLIO_CONFIG, ...config };
    this.traffic = new TrafficWindow(this.config.traffic);
    this.candidates = new Map(
      config.candidates.map((policy) => [policy.name, { policy, lead: 0, gained: 0, lost: 0, tries: 0, triedIn: -1 }]),
    );
    const prior = this.candidates.get(config.prior);
    if (!prior) throw new Error(`Portfolio: the prior ${config.prior} is not among the candidates`);
    this.incumbent = prior;
  }

  /** The ordering that should serve now, under a name that tells who chose it. */
  get policy(): OrderingPolicy {
    const { policy } = this.incumbent;
    return { ...policy, name: `maestro:${policy.name}` };
  }

  /** The newest evaluations, oldest first. */
  log(): readonly PortfolioEntry[] {
    return this.entries;
  }

  stats(): PortfolioStats {
    const { evaluation, switches, spentMs } = this;
    return { chosen: this.incumbent.policy.name, evaluations: evaluation, switches, spentMs };
  }

  /** What to replay now; undefined while nothing is due, nothing waits, or the last request has not been answered. */
  plan(nowMs: number): ReplayRequest | undefined {
    const { intervalMs, minWorkflows, minDelayedShare, maxStages, thinnings, maxEvaluationMs } = this.config;
    this.nextMs ??= nowMs + intervalMs;
    if (this.pending || nowMs < this.nextMs) return undefined;
    this.nextMs = nowMs + intervalMs;
    this.traffic.prune(nowMs);
    const outcomes = this.traffic.takeOutcomes();
    this.ended += outcomes.ended;
    this.inTime += outcomes.inTime;
    const counts = this.traffic.takeCounts();
    this.submitted += counts.submitted;
    this.delayed += counts.delayed;
    if (this.delayed < minDelayedShare * this.submitted) return undefined;
    const plan = planReplay(this.traffic, nowMs, { maxStages, thinnings, round: this.evaluation });
    if (plan.counted < minWorkflows) return undefined;
    this.submitted = 0;
    this.delayed = 0;
    this.pending = { workflows: plan.counted, stages: plan.stages };
    return {
      workflows: plan.workflows,
      horizonMs: plan.horizonMs,
      thinning: plan.thinning,
      candidates: this.toTry(),
      budgetMs: maxEvaluationMs,
    };
  }

  /** Takes the answer to the last request. A returned ordering takes over from the present one. */
  scored(result: ReplayResult, nowMs: number): OrderingPolicy | undefined {
    const { pending } = this;
    if (!pending) return undefined;
    this.pending = undefined;
    this.spentMs += result.costMs;
    this.nextMs = Math.max(this.nextMs ?? 0, nowMs + result.costMs / this.config.cpuShare);
    const before = this.incumbent;
    const observed = this.compareWithPromise();
    const reason = this.learn(result);
    this.promised = result.scores.find(({ candidate }) => candidate === this.incumbent.policy.name)?.attainment;
    this.evaluation += 1;
    this.entries.push({
      atMs: nowMs,
      incumbent: before.policy.name,
      chosen: this.incumbent.policy.name,
      reason,
      ...pending,
      costMs: result.costMs,
      scores: result.scores,
      observed,
      doubt: this.doubt,
    });
    if (this.entries.length > LOG_ENTRIES) this.entries.shift();
    if (this.incumbent === before) return undefined;
    this.switches += 1;
    return this.policy;
  }

  /** The last request could not be answered. */
  failed(): void {
    this.pending = undefined;
  }

  /** Sets what was promised against what came of it; returns the latter, if enough has ended to say. */
  private compareWithPromise(): number | undefined {
    const { promised, ended, inTime } = this;
    const { minWorkflows, newest } = this.config;
    if (promised === undefined || ended < minWorkflows) return undefined;
    const observed = inTime / ended;
    this.doubt += newest * (Math.abs(promised - observed) - this.doubt);
    this.ended = 0;
    this.inTime = 0;
    return observed;
  }

  /** The incumbent, the best of the others, and of the rest those that have not been tried for longest. */
  private toTry(): string[] {
    const { tried, allEvery } = this.config;
    const all = this.evaluation % allEvery === 0;
    const others = [...this.candidates.values()].filter((candidate) => candidate !== this.incumbent);
    const byLead = [...others].sort((a, b) => b.lead - a.lead || a.triedIn - b.triedIn);
    const known = byLead.filter(({ triedIn }) => triedIn >= 0);
    const best = known.slice(0, Math.ceil((tried - 1) / 2));
    const rest = others.filter((candidate) => !best.includes(candidate)).sort((a, b) => a.triedIn - b.triedIn);
    const chosen = [this.incumbent, ...best, ...rest];
    return (all ? chosen : chosen.slice(0, tried)).map(({ policy }) => policy.name);
  }

  /** Updates the leads and perhaps the incumbent; returns why. */
  private learn({ scores }: ReplayResult): string {
    const { lead, clearness, clearnessAtOnce, newest, maxDoubt } = this.config;
    const own = scores.find(({ candidate }) => candidate === this.incumbent.policy.name);
    if (!own) return 'the incumbent was not replayed';
    let best: Candidate | undefined;
    let latestOfBest = 0;
    for (const score of scores) {
      const candidate = this.candidates.get(score.candidate);
      if (!candidate || candidate === this.incumbent) continue;
      const latest = worth(score) - worth(own);
      candidate.lead = candidate.triedIn < 0 ? latest : candidate.lead + newest * (latest - candidate.lead);
      candidate.triedIn = this.evaluation;
      candidate.gained = (1 - newest) * candidate.gained + score.gained;
      candidate.lost = (1 - newest) * candidate.lost + score.lost;
      candidate.tries += 1;
      const net = candidate.gained - candidate.lost;
      const needed = candidate.tries > 1 ? clearness : clearnessAtOnce;
      const clear = net >= needed * Math.sqrt(candidate.gained + candidate.lost) && net > 0;
      if (!clear || candidate.lead < lead || candidate.lead <= (best?.lead ?? 0)) continue;
      best = candidate;
      latestOfBest = latest;
    }
    this.incumbent.triedIn = this.evaluation;
    if (!best) return 'nothing leads clearly';
    if (this.doubt > maxDoubt)
      return `${best.policy.name} leads, but replays have been wrong by ${percent(this.doubt)} points of late`;
    const reason = `${best.policy.name} leads by ${percent(latestOfBest)} points now and ${percent(best.lead)} of late`;
    this.takeOver(best);
    return reason;
  }

  /** Leads are told relative to the incumbent, so all of them move. */
  private takeOver(next: Candidate): void {
    const { lead } = next;
    for (const candidate of this.candidates.values()) {
      candidate.lead -= lead;
      candidate.gained = 0;
      candidate.lost = 0;
      candidate.tries = 0;
    }
    this.incumbent = next;
  }
}

function worth({ attainment, tardiness }: ReplayScore): number {
  return attainment - TARDINESS_WEIGHT * tardiness;
}

function percent(share: number): string {
  return (100 * share).toFixed(1);
}
