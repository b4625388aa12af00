/**
 * The median of a growing set of numbers. With an even count it is the mean of the two middle values, (a + b) / 2: every
 * node must take the same one.
 */
export class RunningMedian {
  readonly #sorted: number[] = [];

  /** One binary search and one move of memory: cheap for the thousands of updates of a community. */
  add(value: number): void {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#sorted[middle]! < value) low = middle + 1;
      else high = middle;
    }
    this.#sorted.splice(low, 0, value);
  }

  /** Null while the set is empty. */
  median(): number | null {
    const { length } = this.#sorted;
    if (length === 0) return null;
    const upper = this.#sorted[length >>> 1]!;
    return length % 2 === 1 ? upper : (this.#sorted[(length >>> 1) - 1]! + upper) / 2;
  }
}
