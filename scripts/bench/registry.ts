import type { Benchmark } from './benchmark.ts';
import { codecBenchmark } from './codec/benchmark.ts';

/** Every benchmark by its name on the command line. */
export const BENCHMARKS: ReadonlyMap<string, Benchmark> = new Map(
  [codecBenchmark].map((benchmark) => [benchmark.name, benchmark]),
);
