/** What the traced process and the test that watches it tell each other: both sides of one format. */

/** What was done to the disk. A recursive `mkdir` or `rm`, a `writeFile` or a `copyFile` is traced as the steps it takes. */
export type Operation = 'open' | 'write' | 'truncate' | 'sync' | 'rename' | 'unlink' | 'rmdir' | 'mkdir' | 'link';

/** A line of the trace: the start of an operation, its end, or the kill. Paths are absolute. */
export type TraceLine =
  | {
      readonly type: 'begin';
      /** Thread and number; the end has the same. */
      readonly id: string;
      readonly op: Operation;
      /** The file; of `rename` and `link` what there is before. */
      readonly path: string;
      /** The new name of `rename` and `link`. */
      readonly to?: string;
      /** The open file of `write`, `truncate` and `sync`. */
      readonly handle?: string;
      /** Which arming counted it, and its number there, from 1. */
      readonly counted?: { readonly token: number; readonly nth: number };
    }
  | {
      readonly type: 'end';
      readonly id: string;
      readonly ok: boolean;
      /** Of `open`: the open file, and what opening it did to the disk. */
      readonly handle?: string;
      readonly created?: boolean;
      readonly truncated?: boolean;
      /** Of `write`: the first byte and the one after the last. */
      readonly from?: number;
      readonly until?: number;
      /** Of `sync`: the name of the copy of the content that is safe now. */
      readonly copy?: string;
    }
  | { readonly type: 'kill'; readonly id: string; readonly when: 'before' | 'after' };

/** Where to kill: at the `nth` operation of the phase, counted from when this was written to the arm file. */
export interface Arming {
  /** Below `MAX_ARMINGS`; a new one for each arming of one process. */
  readonly token: number;
  readonly phase: string;
  readonly nth: number;
  readonly when: 'before' | 'after';
}

/** Armings of one process at most: each has a counter of its own. */
export const MAX_ARMINGS = 1024;

/** What the traced process is told by its environment, as JSON in `TRACE_VARIABLE`. */
export interface TraceOptions {
  /** Only what lies below these directories is traced. */
  readonly roots: { readonly home: string; readonly out: string };
  /** The trace; appended to. */
  readonly trace: string;
  /** Holds an `Arming` while the process is to be killed. */
  readonly arm: string;
  /** Directory for the content of files at each of their syncs; null where nobody asks for it. */
  readonly copies: string | null;
}

export const TRACE_VARIABLE = 'KINMERGE_TEST_TRACE';
