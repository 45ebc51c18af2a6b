/**
 * Suspicion from answers: an engine may answer `/health` and the model list with 200 while every request fails (its weights are still loading, or it is broken inside).
 * Only what is the engine's own failure may be counted here; a request that the client got wrong proves that the engine answers. Pure.
 */
export class AnswerWatch {
  private failures = 0;

  constructor(private readonly mostFailures: number) {}

  /** Takes the end of one request; true when so many have failed in a row that the engine must prove itself. Then the count begins anew. */
  observe(answered: boolean): boolean {
    this.failures = answered ? 0 : this.failures + 1;
    if (this.failures < this.mostFailures) return false;
    this.failures = 0;
    return true;
  }

  reset(): void {
    this.failures = 0;
  }
}
