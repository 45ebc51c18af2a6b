/** What became of one request. Times in emulated milliseconds since the server's start. */
export interface LedgerEntry {
  /** Response id. */
  readonly id: string;
  readonly route: string;
  readonly stream: boolean;
  readonly priority: number;
  readonly promptTokens: number;
  readonly arrivedMs: number;
  /** The engine has begun to answer: the first token is there. */
  startedMs: number | null;
  endedMs: number | null;
  cachedTokens: number;
  /** Tokens written to the client, or put into the body. */
  tokens: number;
  bytesSent: number;
  /** `open` until it ends; `disconnected`: the client left; `aborted`: by /abort_requests, sleep or pause; `failed`: the engine died. */
  state: 'open' | 'finished' | 'aborted' | 'disconnected' | 'failed';
  finishReasons: string[];
}

export interface LedgerTotals {
  accepted: number;
  refused: number;
  started: number;
  finished: number;
  aborted: number;
  disconnected: number;
  failed: number;
  tokens: number;
  bytesSent: number;
}

/** The last requests of a server, one by one, and totals of all of them. For tests and acceptance runs. */
export class Ledger {
  readonly totals: LedgerTotals = {
    accepted: 0,
    refused: 0,
    started: 0,
    finished: 0,
    aborted: 0,
    disconnected: 0,
    failed: 0,
    tokens: 0,
    bytesSent: 0,
  };
  private readonly entries: LedgerEntry[] = [];
  private oldest = 0;

  constructor(private readonly capacity: number) {}

  open(entry: Pick<LedgerEntry, 'id' | 'route' | 'stream' | 'priority' | 'promptTokens' | 'arrivedMs'>): LedgerEntry {
    const opened: LedgerEntry = {
      ...entry,
      startedMs: null,
      endedMs: null,
      cachedTokens: 0,
      tokens: 0,
      bytesSent: 0,
      state: 'open',
      finishReasons: [],
    };
    this.totals.accepted += 1;
    if (this.entries.length < this.capacity) this.entries.push(opened);
    else {
      this.entries[this.oldest] = opened;
      this.oldest = (this.oldest + 1) % this.capacity;
    }
    return opened;
  }

  /** Ends a request, once; later calls change nothing. */
  close(entry: LedgerEntry, state: Exclude<LedgerEntry['state'], 'open'>, nowMs: number): void {
    if (entry.state !== 'open') return;
    entry.state = state;
    entry.endedMs = nowMs;
    this.totals[state] += 1;
    this.totals.tokens += entry.tokens;
    this.totals.bytesSent += entry.bytesSent;
  }

  /** Oldest first. */
  list(): LedgerEntry[] {
    return [...this.entries.slice(this.oldest), ...this.entries.slice(0, this.oldest)];
  }
}
