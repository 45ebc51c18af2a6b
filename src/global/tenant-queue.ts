import { ChurnMap } from '../model/churn-map.js';
import { type HeapEntry, StableHeap } from '../model/heap.js';
import { LruMap } from '../model/lru-map.js';
import type { QueuedStage } from './queued-stage.js';

interface Tenant {
  readonly name: string;
  readonly stages: StableHeap<QueuedStage>;
  /** Service that the tenant has been given here, on the virtual clock of the queue, milliseconds. */
  virtualMs: number;
  /** Among tenants that may be served, by the key of their first stage. */
  eligible: HeapEntry<Tenant> | undefined;
  /** Among tenants that are too far ahead, by virtual time. */
  paused: HeapEntry<Tenant> | undefined;
  /** Among all tenants with waiting stages, by virtual time. */
  active: HeapEntry<Tenant> | undefined;
}

/** Tenants without waiting stages whose virtual time is kept, so that leaving and coming back gains nothing. */
const REMEMBERED_TENANTS = 1024;

/**
 * Waiting stages of one model and class, in policy order, under tenant fairness. Every tenant has a virtual time that advances by
 * the service it is given. The best stage by policy goes first among the tenants that are at most `slackMs` ahead of the least
 * served one; a tenant further ahead is passed over until the others have caught up. One tenant's flood thus costs another at
 * most the slack, and with one tenant, or little difference, the policy alone decides.
 */
export class TenantQueue {
  private readonly tenants = new ChurnMap<Tenant>();
  private readonly eligible = new StableHeap<Tenant>();
  private readonly paused = new StableHeap<Tenant>();
  private readonly active = new StableHeap<Tenant>();
  /** Those without waiting stages as well, as they are: most come back soon. */
  private readonly remembered = new LruMap<string, Tenant>(REMEMBERED_TENANTS);
  /** Virtual time of the queue: where a new tenant starts. Never goes back. */
  private virtualMs = 0;
  private waiting = 0;

  constructor(private readonly slackMs: number) {}

  get size(): number {
    return this.waiting;
  }

  push(queued: QueuedStage): void {
    const tenant = this.tenants.get(queued.stage.tenant) ?? this.activate(queued.stage.tenant);
    queued.policyEntry = tenant.stages.push(queued, queued.orderKey);
    this.waiting += 1;
    this.settle(tenant);
  }

  remove(queued: QueuedStage): void {
    const tenant = this.tenants.get(queued.stage.tenant)!;
    if (!tenant.stages.remove(queued.policyEntry!)) throw new Error('TenantQueue: the stage is not in the queue');
    queued.policyEntry = undefined;
    this.waiting -= 1;
    if (tenant.stages.size === 0) this.deactivate(tenant);
    else this.settle(tenant);
  }

  /** Gives the stage the order key that it now carries. */
  rekey(queued: QueuedStage): void {
    const tenant = this.tenants.get(queued.stage.tenant)!;
    tenant.stages.rekey(queued.policyEntry!, queued.orderKey);
    this.settle(tenant);
  }

  /** The stage that goes next. */
  peek(): QueuedStage | undefined {
    // A tenant that came since may stand so far back that the first one has to let it catch up.
    for (let first = this.eligible.peek(); first; first = this.eligible.peek()) {
      if (first.value.virtualMs <= this.horizonMs()) return first.value.stages.peek()!.value;
      this.settle(first.value);
    }
    return undefined;
  }

  /** Charges a dispatched stage to its tenant, whose other stages may be waiting here or not. */
  charge(tenantName: string, serviceMs: number): void {
    const first = this.active.peek();
    if (first) this.virtualMs = Math.max(this.virtualMs, first.value.virtualMs);
    const tenant = this.tenants.get(tenantName);
    if (!tenant) {
      const absent = this.recall(tenantName);
      absent.virtualMs += serviceMs;
      this.remembered.set(tenantName, absent);
      return;
    }
    tenant.virtualMs += serviceMs;
    this.active.rekey(tenant.active!, tenant.virtualMs);
    this.settle(tenant);
    this.resume();
  }

  private activate(name: string): Tenant {
    const tenant = this.recall(name);
    tenant.active = this.active.push(tenant, tenant.virtualMs);
    this.tenants.set(name, tenant);
    return tenant;
  }

  /** A tenant without waiting stages, at the virtual time at which it would come back now. */
  private recall(name: string): Tenant {
    const tenant = this.remembered.peek(name) ?? newTenant(name);
    tenant.virtualMs = Math.max(this.virtualMs, tenant.virtualMs);
    return tenant;
  }

  private deactivate(tenant: Tenant): void {
    this.tenants.delete(tenant.name);
    this.remembered.set(tenant.name, tenant);
    this.active.remove(tenant.active!);
    if (tenant.eligible) this.eligible.remove(tenant.eligible);
    if (tenant.paused) this.paused.remove(tenant.paused);
    tenant.eligible = undefined;
    tenant.paused = undefined;
    tenant.active = undefined;
    this.resume();
  }

  /** Puts a tenant with waiting stages where it belongs: among those that may be served, or among those that are too far ahead. */
  private settle(tenant: Tenant): void {
    const headKey = tenant.stages.peek()!.key;
    if (tenant.virtualMs > this.horizonMs()) {
      if (tenant.eligible) this.eligible.remove(tenant.eligible);
      tenant.eligible = undefined;
      if (tenant.paused) this.paused.rekey(tenant.paused, tenant.virtualMs);
      else tenant.paused = this.paused.push(tenant, tenant.virtualMs);
    } else if (tenant.eligible) {
      this.eligible.rekey(tenant.eligible, headKey);
    } else {
      if (tenant.paused) this.paused.remove(tenant.paused);
      tenant.paused = undefined;
      tenant.eligible = this.eligible.push(tenant, headKey);
    }
  }

  /** Lets paused tenants in again that the others have caught up with. */
  private resume(): void {
    for (let first = this.paused.peek(); first && first.key <= this.horizonMs(); first = this.paused.peek()) {
      this.settle(first.value);
    }
  }

  private horizonMs(): number {
    const first = this.active.peek();
    return (first ? first.key : this.virtualMs) + this.slackMs;
  }
}

function newTenant(name: string): Tenant {
  return { name, stages: new StableHeap(), virtualMs: 0, eligible: undefined, paused: undefined, active: undefined };
}
