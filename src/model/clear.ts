/**
 * Empties a list that fills again at the next event, and keeps its room. Setting its length to 0 goes through the runtime and gives the room back, so that the next entry
 * allocates it anew.
 */
export function clear(list: unknown[]): void {
  while (list.length > 0) list.pop();
}
