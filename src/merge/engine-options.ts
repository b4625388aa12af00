import type { EngineOptions } from '../compute/index.ts';

/** What does the matrix work of a merge, and how much of the machine it may take. Plain data; all have defaults. */
export interface MergeEngineOptions extends EngineOptions {
  /** Bytes that the matrices in work may take together; see `foldStep`. */
  readonly memory?: number;
}
