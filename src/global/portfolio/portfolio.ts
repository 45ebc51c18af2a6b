import type { OrderingPolicy } from '../order/policy.js';
import type { ReplayRequest, ReplayResult, ReplayScore } from './replay.js';
import { planReplay, type ReplayPlan } from './replay-plan.js';
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
  /** What an evaluation may cost is set so that the next is due after so long, if replays take all of their share; in a fleet with little traffic {@link intervalMs} decides. */
  readonly paceMs: number;
  /** Share of the workflows by which another ordering must lead to take over, in [0, 1]. */
  readonly lead: number;
  /**
   * How clear the lead must be, in standard deviations of chance: of the workflows that are in time under only one of the two, the gained less the lost, over the root of their sum
   * (McNemar's test). Workflows of one replay are not independent, and there are several candidates, so this is above the usual 2.
   */
  readonly clearness: number;
  /** How clear, in the same measure, one replay must be to be believed alone; a lead that is less clear must be borne out by a second one. */
  readonly clearAlone: number;
  /** What an evaluation has shown counts for 1/e after so long. */
  readonly memoryMs: number;
  /** Weight of the newest evaluation in the mean distance between what replays promise and what comes of it, in (0, 1]. */
  readonly newest: number;
  /** An evaluation is sized so that so many orderings can be tried in it, the incumbent among them; where replays are cheap, all are. */
  readonly tried: number;
  /** No ordering takes over while what replays promise is on average so far from what comes of it, as a share of workflows. */
  readonly maxDoubt: number;
  /** Less traffic than this says nothing. */
  readonly minWorkflows: number;
  /** Stages of one replay at most, however cheap they are, and those that it may have however dear. */
  readonly maxStages: number;
  readonly minStages: number;
  /** One in how many workflows may be replayed on as small a part of the fleet, in rising order; see {@link thinnings}. */
  readonly thinnings: readonly number[];
  /** Share of stages that must have waited for a turn, or of workflows that must have been late, for there is nothing to be gained else. */
  readonly minTroubledShare: number;
  readonly traffic?: Partial<TrafficWindowConfig>;
}

const DEFAULT_PORTFOLIO_CONFIG: Omit<PortfolioConfig, 'candidates' | 'prior'> = {
  intervalMs: 45_000,
  cpuShare: 0.05,
  paceMs: 120_000,
  lead: 0.01,
  clearness: 2.5,
  clearAlone: Number.POSITIVE_INFINITY,
  memoryMs: 300_000,
  newest: 0.35,
  maxDoubt: 0.25,
  tried: 4,
  minWorkflows: 20,
  maxStages: 6_000,
  minStages: 1_000,
  thinnings: [1],
  minTroubledShare: 0.01,
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

/** A replay that has been asked for. */
type Asked = Pick<PortfolioEntry, 'workflows' | 'stages'> &
  Pick<ReplayPlan, 'spanMs'> &
  Pick<PortfolioConfig, 'maxStages'>;

interface Candidate {
  readonly policy: OrderingPolicy;
  /** Workflows that it gained and lost against the incumbent, and all that were replayed; every workflow counted about once, the newest most. */
  gained: number;
  lost: number;
  replayed: number;
  /** Evaluations that tried it against the present incumbent. */
  tries: number;
  /** When it was last tried against the present incumbent; −∞ for never. */
  triedAtMs: number;
}

/** CPU milliseconds of a replayed stage until some have been replayed. */
const UNKNOWN_STAGE_MS = 0.1;
const LOG_ENTRIES = 64;
const NOTHING_KNOWN = { gained: 0, lost: 0, replayed: 0, tries: 0, triedAtMs: Number.NEGATIVE_INFINITY };

/**
 * Chooses the ordering policy by replaying the scheduler's own last minutes under each. Pure: it hands out requests for replays, somebody else runs them, and their results come back here.
 * The incumbent stays unless another one clearly leads, so that chance does not move the order to and fro.
 */
export class Portfolio {
  readonly traffic: TrafficWindow;
  private config: PortfolioConfig;
  private readonly candidates: ReadonlyMap<string, Candidate>;
  private incumbent: Candidate;
  private evaluation = 0;
  private nextMs: number | undefined;
  private pending: Asked | undefined;
  private stageMs = UNKNOWN_STAGE_MS;
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
    this.candidates = new Map(config.candidates.map((policy) => [policy.name, { policy, ...NOTHING_KNOWN }]));
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

  /** What to replay now; undefined while nothing is due, nothing waits or is late, or the last request has not been answered. */
  plan(nowMs: number): ReplayRequest | undefined {
    const { intervalMs, minWorkflows, minTroubledShare, thinnings, cpuShare, paceMs } = this.config;
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
    const { submitted, delayed, ended, inTime } = this;
    if (delayed < minTroubledShare * submitted && ended - inTime < minTroubledShare * Math.max(1, ended)) {
      return undefined;
    }
    const budgetMs = cpuShare * paceMs;
    const maxStages = this.stagesFor(budgetMs);
    const plan = planReplay(this.traffic, nowMs, { maxStages, thinnings, round: this.evaluation });
    if (plan.counted < minWorkflows) return undefined;
    this.submitted = 0;
    this.delayed = 0;
    this.pending = { workflows: plan.counted, stages: plan.stages, spanMs: plan.spanMs, maxStages };
    return {
      workflows: plan.workflows,
      horizonMs: plan.horizonMs,
      thinning: plan.thinning,
      candidates: this.toTry(),
      budgetMs,
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
    const { workflows, stages, maxStages } = pending;
    // Workflows under way come on top of what may be replayed of the window, so a stage that may costs more than a replayed one.
    if (result.scores.length > 0) this.stageMs = result.costMs / (Math.min(stages, maxStages) * result.scores.length);
    const reason = this.learn(result, pending, nowMs);
    this.promised = result.scores.find(({ candidate }) => candidate === this.incumbent.policy.name)?.attainment;
    this.evaluation += 1;
    this.entries.push({
      atMs: nowMs,
      incumbent: before.policy.name,
      chosen: this.incumbent.policy.name,
      reason,
      ...{ workflows, stages },
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

  /** Replays are of another fleet from now on: what was asked of the former one, and what it has shown, says nothing of this one. */
  fleetChanged(settings: Pick<PortfolioConfig, 'thinnings' | 'clearAlone'>): void {
    this.config = { ...this.config, ...settings };
    this.pending = undefined;
    this.promised = undefined;
    for (const candidate of this.candidates.values()) Object.assign(candidate, NOTHING_KNOWN);
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

  /** Stages of one replay, so that {@link PortfolioConfig.tried} of them keep within the budget. */
  private stagesFor(budgetMs: number): number {
    const { tried, minStages, maxStages } = this.config;
    return Math.min(maxStages, Math.max(minStages, Math.floor(budgetMs / (tried * this.stageMs))));
  }

  /** The incumbent, then by turns the best of the others and those that have not been tried for longest; the budget says how many, and if it is only one, the next evaluation begins with the other kind. */
  private toTry(): string[] {
    const others = [...this.candidates.values()].filter((candidate) => candidate !== this.incumbent);
    const best = others.filter(({ tries }) => tries > 0).sort((a, b) => leadOf(b) - leadOf(a));
    const stale = [...others].sort((a, b) => a.triedAtMs - b.triedAtMs || 0);
    const [one, other] = this.evaluation % 2 === 0 ? [best, stale] : [stale, best];
    const byTurns = others.flatMap((_, index) => [...one.slice(index, index + 1), ...other.slice(index, index + 1)]);
    return [...new Set([this.incumbent, ...byTurns])].map(({ policy }) => policy.name);
  }

  /** Adds what a replay has shown, and perhaps changes the incumbent; returns why. */
  private learn({ scores }: ReplayResult, asked: Asked, nowMs: number): string {
    const { lead, clearness, clearAlone, maxDoubt } = this.config;
    if (scores[0]?.candidate !== this.incumbent.policy.name) return 'the incumbent was not replayed';
    let best: Candidate | undefined;
    for (const score of scores.slice(1)) {
      const candidate = this.candidates.get(score.candidate);
      if (!candidate) continue;
      const agree = candidate.gained > candidate.lost && score.gained > score.lost;
      const believed = agree || clearnessOf(score) >= clearAlone;
      this.addTo(candidate, score, asked, nowMs);
      if (
        believed &&
        clearnessOf(candidate) >= clearness &&
        leadOf(candidate) >= Math.max(lead, best ? leadOf(best) : 0)
      )
        best = candidate;
    }
    if (!best) return 'nothing leads clearly';
    if (this.doubt > maxDoubt)
      return `${best.policy.name} leads, but replays have been wrong by ${percent(this.doubt)} points of late`;
    const reason = `${best.policy.name} leads by ${percent(leadOf(best))} points, ${Math.round(best.gained)} workflows gained and ${Math.round(best.lost)} lost`;
    this.takeOver(best, nowMs);
    return reason;
  }

  /** Replays of one window see the same workflows again: only what is new since the last one is evidence. */
  private addTo(candidate: Candidate, score: ReplayScore, asked: Asked, nowMs: number) {
    const sinceMs = nowMs - candidate.triedAtMs;
    const fresh = Math.min(1, sinceMs / Math.max(1, asked.spanMs));
    const kept = Math.exp(-sinceMs / this.config.memoryMs);
    candidate.gained = kept * candidate.gained + fresh * score.gained;
    candidate.lost = kept * candidate.lost + fresh * score.lost;
    candidate.replayed = kept * candidate.replayed + fresh * asked.workflows;
    candidate.tries += 1;
    candidate.triedAtMs = nowMs;
  }

  /** What is known is relative to the incumbent, so of the others nothing is known any more; of the old one it is the reverse. */
  private takeOver(next: Candidate, nowMs: number): void {
    const { gained, lost, replayed, tries } = next;
    for (const candidate of this.candidates.values()) Object.assign(candidate, NOTHING_KNOWN);
    Object.assign(this.incumbent, { gained: lost, lost: gained, replayed, tries, triedAtMs: nowMs });
    this.incumbent = next;
  }
}

/** Share of the replayed workflows that it gains, less those that it loses. */
function leadOf({ gained, lost, replayed }: Candidate): number {
  return (gained - lost) / Math.max(1, replayed);
}

/** The lead in standard deviations of chance. */
function clearnessOf({ gained, lost }: Pick<Candidate, 'gained' | 'lost'>): number {
  return (gained - lost) / Math.sqrt(Math.max(1, gained + lost));
}

function percent(share: number): string {
  return (100 * share).toFixed(1);
}
