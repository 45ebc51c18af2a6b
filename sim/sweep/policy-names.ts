/** Is the policy told of the future, or a bound that no policy can exceed, and so none that could serve? */
export function hasForesight(policy: string): boolean {
  return policy.startsWith('oracle-') || policy.startsWith('clairvoyant');
}
