/**
 * `max_tokens` of a call for which a source has none: what is usual, doubled until the recorded answer fits. To raise it to that answer would tell its length
 * before it is written.
 */
export function limitAbove(usual: number, outputTokens: number): number {
  let limit = usual;
  while (limit < outputTokens) limit *= 2;
  return limit;
}
