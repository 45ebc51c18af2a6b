import { KeyMemo } from '../model/key-memo.js';
import { LruMap } from '../model/lru-map.js';
import type { Stage } from '../model/stage.js';

/** Followers that stages of one kind had, by role and model, and how many such stages have ended. */
interface Followers {
  ended: number;
  readonly byParty: Map<string, Party>;
}

interface Party {
  readonly role: string;
  readonly model: string;
  count: number;
}

/** What one running workflow is expected to ask for next. */
interface Outlook {
  /** Kind of the stage that ended last: what begins now follows it. */
  lastKind: string | undefined;
  /** When it was last heard of, or last found quiet. */
  seenMs: number;
  /** The model that each role of this workflow has used. */
  readonly modelOf: Uses[];
  /** What each stage under way will bring, and what has ended has left open; undefined until something is expected. */
  open: Map<string, readonly Share[]> | undefined;
}

interface Uses {
  readonly role: string;
  model: string;
}

/** An expected number of stages of a model. */
interface Share {
  readonly model: string;
  readonly stages: number;
}

const MAX_KINDS = 10_000;
const MAX_FOLLOWERS = 64;
const MAX_ROLES = 64;
/** What the last stage left open is expected for so long after its end; then the workflow is at a tool, or over. */
const OPEN_MS = 10_000;
/** An expectation under this is noise. */
const LEAST_SHARE = 0.02;
const LEFT_OPEN = '';

/**
 * Which models the running workflows are about to need, learned from what followed what: for every stage under way the mean number of stages, by role, that
 * began after stages of its template and role had ended. A role's model is the one that it used before in the same workflow, where it has had a turn.
 *
 * It answers for the whole fleet how much of a model is coming, at every stage that begins or ends; a fan-out of five counts five. The table of
 * `NextRoles` answers another question, which role comes next in one workflow, with probabilities that add up to 1, from more of its past; of a fan-out
 * it knows the first that begins. Neither can be had from the other.
 */
export class NextModels {
  private readonly kinds = new LruMap<string, Followers>(MAX_KINDS);
  private readonly workflows: LruMap<string, Outlook>;
  private readonly totals = new Map<string, number>();

  constructor(maxWorkflows: number) {
    this.workflows = new LruMap(maxWorkflows);
  }

  /** Stages of the model that the workflows now running are expected to bring when what they do now has ended. */
  expected(model: string): number {
    return Math.max(0, this.totals.get(model) ?? 0);
  }

  stageBegan(stage: Stage, nowMs: number): void {
    let outlook = this.workflows.get(stage.workflowId);
    if (!outlook) {
      // There are thousands of these, nearly all of few roles: the list is made for one.
      const modelOf = [{ role: stage.role, model: stage.model }];
      outlook = { lastKind: undefined, seenMs: nowMs, modelOf, open: undefined };
      const evicted = this.workflows.set(stage.workflowId, outlook);
      if (evicted) this.clear(evicted[1]);
    }
    if (outlook.lastKind !== undefined) this.learn(outlook.lastKind, stage);
    this.close(outlook, LEFT_OPEN);
    outlook.seenMs = nowMs;
    const used = usesOf(outlook, stage.role);
    if (used) used.model = stage.model;
    else if (outlook.modelOf.length < MAX_ROLES) outlook.modelOf.push({ role: stage.role, model: stage.model });
    this.open(outlook, stage.stageId, kindOf(stage));
  }

  /** The stage has ended; `completed` is false where it brought nothing. */
  stageEnded(stage: Stage, completed: boolean, nowMs: number): void {
    const outlook = this.workflows.get(stage.workflowId);
    if (!outlook) return;
    this.close(outlook, stage.stageId);
    outlook.seenMs = nowMs;
    if (!completed) return;
    const kind = kindOf(stage);
    this.followers(kind).ended += 1;
    outlook.lastKind = kind;
    this.close(outlook, LEFT_OPEN);
    this.open(outlook, LEFT_OPEN, kind);
  }

  workflowEnded(workflowId: string): void {
    const outlook = this.workflows.peek(workflowId);
    if (!outlook) return;
    this.workflows.delete(workflowId);
    this.clear(outlook);
  }

  /** Workflows that have gone quiet promise nothing any more. Call it now and then; it looks at the quietest first. */
  expire(nowMs: number): void {
    for (;;) {
      const oldest = this.workflows.oldest();
      if (!oldest || oldest[1].seenMs + OPEN_MS > nowMs) return;
      const [, outlook] = oldest;
      this.close(outlook, LEFT_OPEN);
      // To the back of the line, so that a quiet one does not hide others; it is looked at again in as long.
      outlook.seenMs = nowMs;
      this.workflows.get(oldest[0]);
    }
  }

  private learn(kind: string, { role, model }: Stage): void {
    const { byParty } = this.followers(kind);
    const key = `${role}\n${model}`;
    const party = byParty.get(key);
    if (party) party.count += 1;
    else if (byParty.size < MAX_FOLLOWERS) byParty.set(key, { role, model, count: 1 });
  }

  private followers(kind: string): Followers {
    let followers = this.kinds.get(kind);
    if (!followers) {
      followers = { ended: 0, byParty: new Map() };
      this.kinds.set(kind, followers);
    }
    return followers;
  }

  private open(outlook: Outlook, key: string, kind: string): void {
    const followers = this.kinds.get(kind);
    if (!followers || followers.ended === 0) return;
    if (followers.byParty.size === 0) return;
    const shares: Share[] = [];
    for (const { role, model, count } of followers.byParty.values()) {
      const stages = count / followers.ended;
      if (stages < LEAST_SHARE) continue;
      const share = { model: usesOf(outlook, role)?.model ?? model, stages };
      shares.push(share);
      this.totals.set(share.model, (this.totals.get(share.model) ?? 0) + stages);
    }
    outlook.open ??= new Map();
    outlook.open.set(key, shares);
  }

  private close(outlook: Outlook, key: string): void {
    const shares = outlook.open?.get(key);
    if (!shares) return;
    outlook.open?.delete(key);
    for (const { model, stages } of shares) {
      const left = (this.totals.get(model) ?? 0) - stages;
      if (left < 1e-9) this.totals.delete(model);
      else this.totals.set(model, left);
    }
  }

  private clear(outlook: Outlook): void {
    for (const key of [...(outlook.open?.keys() ?? [])]) this.close(outlook, key);
  }
}

function usesOf(outlook: Outlook, role: string): Uses | undefined {
  for (const uses of outlook.modelOf) if (uses.role === role) return uses;
  return undefined;
}

const KIND = new KeyMemo((template, role) => `${template}\n${role}`);

function kindOf({ template, role }: Stage): string {
  return KIND.of(template, role);
}
