/** Solves one matrix several times in a worker thread, together with another one that starts at the same instant. */
import { parentPort, workerData } from 'node:worker_threads';
import { type EigensolverName, openEigensolver } from '../../../src/compute/index.ts';

export interface EigenTask {
  readonly name: EigensolverName;
  readonly g: Float64Array;
  readonly n: number;
  readonly repeats: number;
  /** Counts the threads that are ready. */
  readonly ready: Int32Array;
  readonly threads: number;
}

const { name, g, n, repeats, ready, threads } = workerData as EigenTask;
const solver = openEigensolver(name);
Atomics.add(ready, 0, 1);
Atomics.notify(ready, 0);
while (Atomics.load(ready, 0) < threads) Atomics.wait(ready, 0, Atomics.load(ready, 0), 10);
parentPort?.postMessage(Array.from({ length: repeats }, () => solver.solve(g.slice(), n)));
