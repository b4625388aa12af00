/** Choices that are the same in every run of one seed. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed + 1, 0x9e3779b1) | 0;
  }

  /** 0 to 1, without 1. */
  number(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer, both ends included. */
  from(least: number, most: number): number {
    return least + Math.floor(this.number() * (most - least + 1));
  }

  chance(probability: number): boolean {
    return this.number() < probability;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.from(0, list.length - 1)]!;
  }

  /** One of the names, as often as its weight says. */
  weighted<T extends string>(weights: Readonly<Record<T, number>>): T {
    const entries = Object.entries(weights) as [T, number][];
    let at = this.number() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [name, weight] of entries) {
      at -= weight;
      if (at < 0) return name;
    }
    return entries.at(-1)![0];
  }

  shuffled<T>(list: Iterable<T>): T[] {
    const items = [...list];
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.from(0, i);
      [items[i], items[j]] = [items[j]!, items[i]!];
    }
    return items;
  }

  /** Some of them, in their order; at least one where there is one. */
  some<T>(list: readonly T[]): T[] {
    const kept = list.filter(() => this.chance(0.5));
    return kept.length > 0 || list.length === 0 ? kept : [this.pick(list)];
  }
}
