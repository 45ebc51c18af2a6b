import type { StageStart } from '../bus/contract.js';
import { LruMap } from '../model/lru-map.js';

/** Where a response of the Responses API was made. */
export interface ResponseHome {
  readonly tenant: string;
  readonly start: StageStart;
}

/** Responses that are remembered; beyond it the one that was used longest ago is forgotten. */
const REMEMBERED = 10_000;

/**
 * Which engine has which response: the engines keep them to themselves, so a request for one, or one that continues it, must go to the same engine. Ids are
 * the engine's; a tenant sees its own only.
 */
export class ResponseHomes {
  private readonly homes = new LruMap<string, ResponseHome>(REMEMBERED);

  remember(id: string, tenant: string, start: StageStart): void {
    this.homes.set(id, { tenant, start });
  }

  find(id: string, tenant: string | undefined): ResponseHome | undefined {
    const home = this.homes.get(id);
    return home && (tenant === undefined || home.tenant === tenant) ? home : undefined;
  }
}
