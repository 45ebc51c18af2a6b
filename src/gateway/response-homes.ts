import type { StageStart } from '../bus/contract.js';
import { LruMap } from '../model/lru-map.js';

/** Where a response of the Responses API was made, and for whom. */
export interface ResponseHome {
  readonly tenant: string;
  readonly workflowId: string;
  readonly start: StageStart;
}

/** Responses that are remembered; beyond it the one that was used longest ago is forgotten. */
const REMEMBERED = 10_000;

/**
 * Which engine has which response: the engines keep them to themselves, so a request for one, or one that continues it, must go to the same
 * engine. A tenant sees its own only. Engines take the id from the request where it names one, so an id that is another tenant's stays that
 * tenant's.
 */
export class ResponseHomes {
  private readonly homes = new LruMap<string, ResponseHome>(REMEMBERED);

  remember(id: string, home: ResponseHome): void {
    if ((this.homes.peek(id)?.tenant ?? home.tenant) === home.tenant) this.homes.set(id, home);
  }

  find(id: string, tenant: string | undefined): ResponseHome | undefined {
    const home = this.homes.get(id);
    return home && (tenant === undefined || home.tenant === tenant) ? home : undefined;
  }
}
