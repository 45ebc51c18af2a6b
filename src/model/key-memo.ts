/** Keys remembered, some 500 bytes each where every name is another one; with more kinds of calls all are made anew. */
const MAX_KEYS = 4_000;

/**
 * Keys made of a few names, each combination made once. A key that is put together at every call is a new string: it has to be copied and hashed before it can be looked up, which costs more
 * than the look-up. What comes out is the same string for the same names, so comparing it is comparing addresses.
 */
export class KeyMemo {
  private readonly keys = new Map<string, Map<string, Map<string, string>>>();
  private count = 0;
  /** The combination that was asked for last, which is asked for again more often than not. */
  private last = { first: '', second: '', third: '', key: '' };

  /** @param make Joins the names; the third is empty where there are two. */
  constructor(private readonly make: (first: string, second: string, third: string) => string) {}

  of(first: string, second: string, third = ''): string {
    const { last } = this;
    if (last.first === first && last.second === second && last.third === third && last.key !== '') return last.key;
    const key = this.keys.get(first)?.get(second)?.get(third) ?? this.add(first, second, third);
    last.first = first;
    last.second = second;
    last.third = third;
    last.key = key;
    return key;
  }

  private add(first: string, second: string, third: string): string {
    if (this.count >= MAX_KEYS) {
      this.keys.clear();
      this.count = 0;
    }
    this.count += 1;
    const bySecond = this.keys.get(first) ?? new Map<string, Map<string, string>>();
    const byThird = bySecond.get(second) ?? new Map<string, string>();
    const key = this.make(first, second, third);
    byThird.set(third, key);
    bySecond.set(second, byThird);
    this.keys.set(first, bySecond);
    return key;
  }
}
