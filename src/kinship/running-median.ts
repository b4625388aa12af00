/**
 * The median of a changing set of numbers. With an even count it is the mean of the two middle values, (a + b) / 2: every
 * node must take the same one.
 */
export class RunningMedian {
  readonly #sorted: number[] = [];

  /** One binary search and one move of memory: cheap for the thousands of updates of a community. */
  add(value: number): void {
    this.#sorted.splice(this.#place(value), 0, value);
  }

  /** Takes out one number that was added. */
  remove(value: number): void {
    const place = this.#place(value);
    if (this.#sorted[place] === value) this.#sorted.splice(place, 1);
  }

  /** Null while the set is empty. */
  median(): number | null {
    const { length } = this.#sorted;
    if (length === 0) return null;
    const upper = this.#sorted[length >>> 1]!;
    return length % 2 === 1 ? upper : (this.#sorted[(length >>> 1) - 1]! + upper) / 2;
  }

  #place(value: number): number {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#sorted[middle]! < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
