import type { ModelCapacity } from '../model/fleet.js';
import { type HeapEntry, StableHeap } from '../model/heap.js';
import { Buckets } from './buckets.js';
import {
  type EngineRecord,
  freeKvTokens,
  freePlaces,
  isRunning,
  isWakeable,
  type LeaseTime,
  leasesOf,
  placesOf,
  type SeatLimits,
} from './engine-record.js';
import { FITS_POOL } from './filter/fits-pool.js';
import { MODEL_ALLOWED } from './filter/model-allowed.js';
import type { PlaceRequest } from './place-request.js';
import { ModelPace } from './slowness.js';

const LOAD_BUCKETS = 16;
/** Ready times up to 2^24 ms, four buckets to the doubling. */
const READY_BUCKETS = 96;
/** One more engine may be woken at a time for so many running ones of the model; always one. */
const RUNNING_PER_WAKE = 8;

/** Of the KV memory of an engine, so much is still free in another that takes over what it has: with less, models on small GPUs took each other's room in turn (docs/research/weights.md). */
const SPARE_SHARE = 0.5;

/** Victims of sleeping engines that are looked at for one account of the capacity. */
const MAX_ASKED = 8;

/** Beside running engines, so many sleeping ones for which others would have to sleep are passed over, the soonest ready first; then the search ends. */
export const MAX_PASSED = 64;

/** How long a lease lasts, until one has ended. */
const FIRST_LEASE_MS = 5_000;

/** What the index last counted of an engine, to be taken back when it changes. */
interface Counted {
  running: boolean;
  /** Runs, and as fast as its siblings. */
  quick: boolean;
  waking: boolean;
  places: number;
  kvEntry: HeapEntry<EngineRecord> | undefined;
}

/** The engines of one model, arranged so that the few worth scoring, and the sum of what they can take, are found without a scan. */
export class ModelIndex {
  /** Its capacity has changed and nobody has been told. */
  changeNoted = false;
  readonly leaseTime: LeaseTime = { meanMs: FIRST_LEASE_MS };
  readonly pace = new ModelPace();
  private readonly counted = new Map<EngineRecord, Counted>();
  /** Running engines that take stages, by load. */
  private readonly open = new Buckets<EngineRecord>(LOAD_BUCKETS);
  /** The same engines, roomiest first. */
  private readonly byFreeKv = new StableHeap<EngineRecord>();
  /** Engines that could be woken or are waking, and take holds, by ready time. */
  private readonly asleep = new Buckets<EngineRecord>(READY_BUCKETS);
  private running = 0;
  private quick = 0;
  private waking = 0;
  private openPlaces = 0;
  private wakingPlaces = 0;

  constructor(
    readonly model: string,
    private readonly limits: SeatLimits,
    private readonly spared: Spared,
  ) {}

  /** Could the model do without this engine: do the others have seats for what it has, and one of them memory, which is then still half empty? */
  spares(engine: EngineRecord): boolean {
    const counted = this.counted.get(engine);
    if (!counted?.running || this.openPlaces - counted.places <= leasesOf(engine)) return false;
    const { reservedKvTokens, kvPoolTokens } = engine.view;
    const kvTokens = reservedKvTokens + engine.pendingKvTokens + SPARE_SHARE * kvPoolTokens;
    // What others have free is told of one rank.
    return this.roomiest(kvTokens / Math.max(1, engine.ranks.length), (other) => other !== engine) !== undefined;
  }

  /** Some running engine can serve the stage, be it full or not: it has the adapter, and its pool and its context are long enough. */
  runsFor(request: PlaceRequest): boolean {
    if (this.running === 0) return false;
    const kvTokens = request.prediction.kvTokens.bound;
    for (const [whole, { running }] of this.counted) {
      const engine = whole.ranks[0] ?? whole;
      if (!running || engine.view.kvPoolTokens < kvTokens) continue;
      if (MODEL_ALLOWED.passes(request, engine) && FITS_POOL.passes(request, engine)) return true;
    }
    return false;
  }

  /** Are there engines that could be woken, or are waking? */
  get hasAsleep(): boolean {
    return this.asleep.size > 0;
  }

  get size(): number {
    return this.counted.size;
  }

  engines(): IterableIterator<EngineRecord> {
    return this.counted.keys();
  }

  /** Puts the engine where its present state belongs. Call it after every change of the record. */
  put(engine: EngineRecord): void {
    const counted = this.counted.get(engine) ?? this.add(engine);
    const before = this.quick;
    this.uncount(counted);
    counted.running = !engine.stale && isRunning(engine);
    counted.quick = counted.running && engine.slowness === 1;
    counted.waking = !engine.stale && engine.view.state === 'waking' && isWakeable(engine);
    const usable = !engine.stale && (counted.running || isWakeable(engine));
    if (counted.running) this.running += 1;
    if (counted.quick) this.quick += 1;
    const isShut = counted.running && !counted.quick && this.quick > 0;
    counted.places = usable && !isShut ? freePlaces(engine, this.limits) : 0;
    if (counted.waking) this.waking += 1;
    if (counted.running) this.openPlaces += counted.places;
    if (counted.waking) this.wakingPlaces += counted.places;
    if (counted.running && counted.places > 0) this.putOpen(engine, counted);
    else this.removeOpen(engine, counted);
    if (!counted.running && counted.places > 0) this.asleep.put(engine, 4 * Math.log2(1 + engine.view.readyInMs));
    else this.asleep.remove(engine);
    this.putSlow(before);
  }

  /** Engines that have become far slower than their siblings take nothing while one of these runs. */
  private putSlow(quickBefore: number): void {
    if (quickBefore > 0 !== this.quick > 0) this.visitSlow((engine) => this.put(engine));
  }

  remove(engine: EngineRecord): void {
    const counted = this.counted.get(engine);
    if (!counted) return;
    const before = this.quick;
    this.uncount(counted);
    this.removeOpen(engine, counted);
    this.asleep.remove(engine);
    this.counted.delete(engine);
    this.putSlow(before);
  }

  /** Shows running engines that take stages, the least loaded first, until `visit` returns true. */
  visitLeastLoaded(visit: (engine: EngineRecord) => boolean): void {
    this.open.find(visit);
  }

  /** Shows running engines that nobody is sent to because they have become slow. */
  visitSlow(visit: (engine: EngineRecord) => void): void {
    if (this.quick === this.running) return;
    for (const [engine, { running, quick }] of this.counted) if (running && !quick) visit(engine);
  }

  /** Shows engines that are not running and take holds, the soonest ready first, until `visit` returns true. */
  visitSoonestReady(visit: (engine: EngineRecord) => boolean): void {
    this.asleep.find(visit);
  }

  /** The first running engine with room for so much KV, the roomiest first, that `accepts` takes. */
  roomiest(kvTokens: number, accepts: (engine: EngineRecord) => boolean): EngineRecord | undefined {
    const passed: EngineRecord[] = [];
    let found: EngineRecord | undefined;
    for (let first = this.byFreeKv.peek(); first && -first.key >= kvTokens; first = this.byFreeKv.peek()) {
      if (accepts(first.value)) {
        found = first.value;
        break;
      }
      passed.push(first.value);
      this.byFreeKv.pop();
    }
    for (const engine of passed) this.counted.get(engine)!.kvEntry = this.byFreeKv.push(engine, -freeKvTokens(engine));
    return found;
  }

  /**
   * What the model's engines can take. While none runs, the holds of those that are waking count, or of one that sleeps, so that
   * a model which is asleep everywhere is dispatched to and thereby woken. Beside running engines the holds of a sleeping one
   * are offered apart, for a queue that is longer than its wake, and only if no other engine must sleep for it.
   */
  capacity(): ModelCapacity {
    if (this.running > 0) {
      const cold = this.asleep.size === 0 ? undefined : this.besideRunning();
      return {
        model: this.model,
        starts: this.openPlaces,
        maxKvTokens: -(this.byFreeKv.peek()?.key ?? 0),
        readyInMs: 0,
        coldStarts: cold ? freePlaces(cold, this.limits) : 0,
        coldReadyInMs: cold ? cold.view.readyInMs + cold.view.disturbanceMs : Number.POSITIVE_INFINITY,
      };
    }
    const soonest = this.asleep.find(() => true);
    const wakeable = this.waking > 0 ? this.wakingPlaces : soonest ? freePlaces(soonest, this.limits) : 0;
    return {
      model: this.model,
      starts: wakeable,
      maxKvTokens: soonest ? freeKvTokens(soonest) : 0,
      readyInMs: soonest?.view.readyInMs ?? Number.POSITIVE_INFINITY,
    };
  }

  /** An engine that wakes, or the soonest ready that may be woken although others of the model run. */
  private besideRunning(): EngineRecord | undefined {
    const mayWake = this.waking < Math.max(1, Math.floor(this.running / RUNNING_PER_WAKE));
    let asked = 0;
    const spared: Spared = (engineId) => asked++ < MAX_ASKED && this.spared(engineId);
    if (!mayWake && this.waking === 0) return undefined;
    let chosen: EngineRecord | undefined;
    let passed = 0;
    this.asleep.find((engine) => {
      if (engine.view.state === 'waking' || (mayWake && !disturbs(engine, spared))) {
        chosen = engine;
        return true;
      }
      passed += 1;
      return mayWake && passed >= MAX_PASSED;
    });
    return chosen;
  }

  private add(engine: EngineRecord): Counted {
    const counted = { running: false, quick: false, waking: false, places: 0, kvEntry: undefined };
    this.counted.set(engine, counted);
    return counted;
  }

  private uncount(counted: Counted): void {
    if (counted.quick) this.quick -= 1;
    if (counted.running) {
      this.running -= 1;
      this.openPlaces -= counted.places;
    }
    if (counted.waking) {
      this.waking -= 1;
      this.wakingPlaces -= counted.places;
    }
  }

  private putOpen(engine: EngineRecord, counted: Counted): void {
    this.open.put(engine, loadBucket(leasesOf(engine), placesOf(engine, this.limits)));
    const key = -freeKvTokens(engine);
    if (!counted.kvEntry) counted.kvEntry = this.byFreeKv.push(engine, key);
    else if (counted.kvEntry.key !== key) this.byFreeKv.rekey(counted.kvEntry, key);
  }

  private removeOpen(engine: EngineRecord, counted: Counted): void {
    this.open.remove(engine);
    if (counted.kvEntry) this.byFreeKv.remove(counted.kvEntry);
    counted.kvEntry = undefined;
  }
}

/** Could its model do without this engine? */
export type Spared = (engineId: string) => boolean;

export function isSpared(engine: EngineRecord | undefined, models: ReadonlyMap<string, ModelIndex>): boolean {
  return engine !== undefined && models.get(engine.view.spec.model)?.spares(engine) === true;
}

/**
 * Others would lose by its wake: engines that their models need would have to sleep for it, or somebody waits on its GPUs for a model that sleeps. Beside a running engine of its model
 * such a wake adds no capacity: it takes from other models what this one gains, and all of them wait for weights.
 */
export function disturbs(engine: EngineRecord, spared: Spared): boolean {
  const { state, disturbanceMs, victims } = engine.view;
  if (isRunning(engine) || state === 'waking' || disturbanceMs === 0) return false;
  return engine.heldBeside > 0 || !victims?.every(spared);
}

/**
 * Load by its logarithm: one lease more matters most on a nearly idle engine, and engines whose seats nobody knows still differ. A full
 * engine stands in the last bucket.
 */
function loadBucket(leases: number, places: number): number {
  return (LOAD_BUCKETS * Math.log2(1 + leases)) / Math.log2(1 + Math.max(1, places));
}
