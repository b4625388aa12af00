import type { BarDefinition, BarOutcome } from './bars.ts';
import type { Workspace } from './workspace.ts';

/** What a benchmark is given. */
export interface BenchmarkContext {
  /** Tiny inputs and one round: shows that everything runs, measures nothing. */
  readonly quick: boolean;
  readonly rounds: number;
  readonly only: readonly string[] | undefined;
  readonly workspace: Workspace;
  readonly signal: AbortSignal;
  /** One line about how far it is. */
  readonly say: (line: string) => void;
  /** A Python interpreter to try first. */
  readonly python: string | undefined;
  /** Outside programs that are absent may be installed. */
  readonly install: boolean;
}

export type Cell = string | number | null;

/** Rows of a table for people; programs read the same rows. */
export interface Table {
  readonly title: string;
  readonly rows: readonly Readonly<Record<string, Cell>>[];
}

export interface BenchmarkResult {
  readonly outcomes: ReadonlyMap<string, BarOutcome>;
  readonly tables: readonly Table[];
  readonly notes: readonly string[];
  /** For programs only: what the tables sum up, by a name of the benchmark's own. */
  readonly details: Readonly<Record<string, readonly object[]>>;
}

export interface Benchmark {
  readonly name: string;
  readonly about: string;
  readonly bars: readonly BarDefinition[];
  /** Outside programs and the commands that tell their versions. */
  readonly programs: Readonly<Record<string, readonly string[]>>;
  /** Its files are so large that they belong on a disk, not in memory. */
  readonly onDisk?: true;
  /** Free bytes that a run needs. */
  neededBytes(quick: boolean): number;
  run(context: BenchmarkContext): Promise<BenchmarkResult>;
}
