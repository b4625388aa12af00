import { type Bar, judge } from './bars.ts';
import type { Benchmark, BenchmarkContext, Table } from './benchmark.ts';
import { describeMachine, type Machine } from './machine.ts';

/** What `--json` prints. */
export interface BenchmarkDocument {
  readonly benchmark: string;
  readonly quick: boolean;
  readonly rounds: number;
  readonly machine: Machine;
  readonly storage: 'tmpfs' | 'other';
  readonly bars: readonly Bar[];
  readonly tables: readonly Table[];
  readonly notes: readonly string[];
  readonly details: Readonly<Record<string, readonly object[]>>;
  readonly seconds: number;
}

/** Runs a benchmark and puts everything that a reader needs to judge it into one document. */
export async function runBenchmark(benchmark: Benchmark, context: BenchmarkContext): Promise<BenchmarkDocument> {
  const started = performance.now();
  const { outcomes, tables, notes, details } = await benchmark.run(context);
  return {
    benchmark: benchmark.name,
    quick: context.quick,
    rounds: context.rounds,
    machine: await describeMachine(benchmark.programs),
    storage: context.workspace.storage,
    bars: judge(benchmark.bars, outcomes),
    tables,
    notes,
    details,
    seconds: (performance.now() - started) / 1000,
  };
}
