/** Where the time of matrix work went. */

/** The parts of a projection: the Gram matrix and its eigenproblem, right singular vectors where a device needs them, the
 * large products, and the rest. */
export type PhaseName = 'gram' | 'eigen' | 'vectors' | 'products' | 'sums';

export interface Phase {
  readonly name: PhaseName | 'read' | 'write';
  /** What did the work; `cpu` for everything that is not a product. */
  readonly device: string;
  /** Summed over the threads that worked at the same time. */
  readonly seconds: number;
  /** Floating-point operations of matrix products, 10^9; 0 where none were done. */
  readonly gflop: number;
}

/** Adds up phases by name and device. */
export class Meter {
  readonly #phases = new Map<string, Phase>();

  async time<T>(name: Phase['name'], device: string, work: () => T | Promise<T>, products = 0): Promise<T> {
    const started = performance.now();
    const result = await work();
    this.add([{ name, device, seconds: (performance.now() - started) / 1000, gflop: (2 * products) / 1e9 }]);
    return result;
  }

  add(phases: readonly Phase[]): void {
    for (const { name, device, seconds, gflop } of phases) {
      const key = `${name} ${device}`;
      const known = this.#phases.get(key);
      this.#phases.set(key, {
        name,
        device,
        seconds: (known?.seconds ?? 0) + seconds,
        gflop: (known?.gflop ?? 0) + gflop,
      });
    }
  }

  get phases(): readonly Phase[] {
    return [...this.#phases.values()];
  }
}
