import type { Benchmark } from './benchmark.ts';
import { codecBenchmark } from './codec/benchmark.ts';
import { mergeBenchmark } from './merge/benchmark.ts';
import { mergeLlamaBenchmark } from './merge/llama.ts';
import { networkBenchmark } from './network/benchmark.ts';

/** Every benchmark by its name on the command line. */
export const BENCHMARKS: ReadonlyMap<string, Benchmark> = new Map(
  [codecBenchmark, mergeBenchmark, mergeLlamaBenchmark, networkBenchmark].map((benchmark) => [
    benchmark.name,
    benchmark,
  ]),
);
