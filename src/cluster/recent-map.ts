/**
 * A map that forgets what has not been set for long: it keeps the last `maxSize / 2` keys at least and `maxSize` at most. Cheaper
 * than exact least-recently-used order, for indexes that are written often: a full young generation becomes the old one.
 */
export class RecentMap<K, V> {
  private young = new Map<K, V>();
  private old = new Map<K, V>();

  constructor(private readonly maxSize: number) {}

  get isEmpty(): boolean {
    return this.young.size === 0 && this.old.size === 0;
  }

  get(key: K): V | undefined {
    return this.young.get(key) ?? this.old.get(key);
  }

  delete(key: K): void {
    this.young.delete(key);
    this.old.delete(key);
  }

  set(key: K, value: V): void {
    this.young.set(key, value);
    if (2 * this.young.size < this.maxSize) return;
    this.old = this.young;
    this.young = new Map();
  }
}
