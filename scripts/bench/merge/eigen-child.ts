/** A process that solves one symmetric eigenproblem again and again; the first solution is not counted. */
import { readFileSync } from 'node:fs';
import { openLapack } from './subject.ts';

export interface EigenJob {
  /** n x n float64 values. */
  readonly path: string;
  readonly n: number;
  readonly repeats: number;
}

export interface Solved {
  readonly seconds: readonly number[];
  readonly description: string;
  readonly largest: number;
  readonly smallest: number;
}

const { path, n, repeats } = JSON.parse(process.argv[2]!) as EigenJob;
const bytes = readFileSync(path);
const matrix = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
const solver = openLapack();
const seconds: number[] = [];
let values: Float64Array = new Float64Array();
for (let run = 0; run <= repeats; run++) {
  const started = performance.now();
  // The solver may overwrite its matrix, so it gets a copy; numpy copies as well, and both are timed with it.
  values = solver.solve(matrix.slice(), n);
  if (run > 0) seconds.push((performance.now() - started) / 1000);
}
const { description } = solver;
const result: Solved = { seconds, description, largest: values[0]!, smallest: values[n - 1]! };
process.stdout.write(JSON.stringify(result));
