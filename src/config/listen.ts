/** Hosts that only this machine reaches. */
export const LOOPBACK = /^(localhost|127(\.\d+){3}|::1|\[::1\])$/;

/** Would a server at this host serve other machines without asking them for a key, and has nobody said that it may? */
export function isOpenToOthers(host: string, keys: number, insecure: boolean): boolean {
  return !LOOPBACK.test(host) && keys === 0 && !insecure;
}
