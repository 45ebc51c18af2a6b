import { MaestroError } from '../model/error.js';
import type { ApiKey } from './config.js';

/** Requests that tenants have open, of the keys that bound them. Keys of one tenant share its places, so that a second one, as while keys are changed, brings no more. */
export class TenantPlaces {
  private readonly open = new Map<string, number>();

  /** Takes a place; what is returned is to be handed to {@link give}. Throws `queue_full` where the tenant has as many requests open as the key allows. */
  take(key: ApiKey | undefined): string | undefined {
    if (key?.maxOpenRequests === undefined) return undefined;
    const { tenant, maxOpenRequests } = key;
    const count = this.open.get(tenant) ?? 0;
    if (count >= maxOpenRequests) {
      const message = `Tenant ${tenant} has ${count} requests open, as many as it may. Try again when one has ended.`;
      throw new MaestroError('queue_full', message, { reason: 'too-many-of-tenant' });
    }
    this.open.set(tenant, count + 1);
    return tenant;
  }

  give(place: string | undefined): void {
    if (place === undefined) return;
    const left = this.open.get(place)! - 1;
    if (left === 0) this.open.delete(place);
    else this.open.set(place, left);
  }
}
