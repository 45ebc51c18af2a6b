/** A failure that a test orders for the next sequence that has made `afterTokens` tokens. */
export interface Fault {
  /** `process`: the whole engine dies; `stream`: one sequence does. */
  readonly scope: 'process' | 'stream';
  /** `cut`: the socket ends in the middle; `error`: an error frame and [DONE], or status 500. */
  readonly how: 'cut' | 'error';
  readonly afterTokens: number;
}

/** At most one fault is armed; it strikes once. */
export class FaultPlan {
  private armed: Fault | undefined;

  arm(fault: Fault | undefined): void {
    this.armed = fault;
  }

  /** The fault, when a sequence with this many tokens is what it waits for. */
  strikes(
    tokens: number,
  ): { readonly scope: Fault['scope']; readonly how: Fault['how']; readonly atTokens: number } | undefined {
    const fault = this.armed;
    if (!fault || tokens < fault.afterTokens) return undefined;
    this.armed = undefined;
    return { scope: fault.scope, how: fault.how, atTokens: Math.min(tokens, fault.afterTokens) };
  }
}
