import type { Operation } from './format.ts';

/** An operation with its paths relative to the home, or to the directory that pulls go to (`in: 'out'`). */
export interface Placed {
  readonly in: 'home' | 'out';
  readonly op: Operation;
  readonly path: string;
  /** The new name of a rename. */
  readonly to: string | undefined;
}

const REMOVALS: readonly Operation[] = ['unlink', 'rmdir', 'truncate'];

const STORES = /^((blobs|objects|records|seals|journal)(\/|$)|\.?published)/;
/** A state or a checkpoint under its own name. */
const FINISHED = /^derived\/(fold|checkpoints)\/[^./][^/]*$/;

/**
 * The phases of a node's work, each told by which files are touched. Contributing, receiving and sealing touch the
 * same ones: the test arms them when only one of the three goes on.
 */
export const PHASES = {
  /** All that a daemon does before it answers, cleaning up after its predecessor included. */
  start: ({ in: root }) => root === 'home',
  /** A home becomes part of a community: its own keys, the charter, and last the configuration. */
  join: ({ in: root }) => root === 'home',
  contribute: ({ in: root, path }) => root === 'home' && (STORES.test(path) || /^tmp\//.test(path)),
  receive: ({ in: root, path }) => root === 'home' && STORES.test(path),
  seal: ({ in: root, path }) => root === 'home' && STORES.test(path),
  /** A step's state and the merged checkpoint while they are written under their temporary names. */
  fold: ({ in: root, op, path }) =>
    root === 'home' && /^derived\/(fold|checkpoints)\/\./.test(path) && op !== 'rename' && !REMOVALS.includes(op),
  /** States and checkpoints as they get their names, and old states as they go. */
  snapshot: ({ in: root, op, path, to }) =>
    root === 'home' &&
    ((op === 'rename' && (FINISHED.test(to ?? '') || (FINISHED.test(path) && path.startsWith('derived/fold/')))) ||
      (op === 'sync' && path === 'derived/fold') ||
      (REMOVALS.includes(op) && path.startsWith('derived/fold/'))),
  pull: ({ in: root }) => root === 'out',
  /** Payloads that nothing names, and old checkpoints. */
  collection: ({ in: root, op, path }) =>
    root === 'home' &&
    ((op === 'rename' && FINISHED.test(path) && path.startsWith('derived/checkpoints/')) ||
      (op === 'sync' && path === 'derived/checkpoints') ||
      (REMOVALS.includes(op) && (STORES.test(path) || path.startsWith('derived/checkpoints/')))),
} as const satisfies Readonly<Record<string, (operation: Placed) => boolean>>;

export type PhaseName = keyof typeof PHASES;

export function inPhase(phase: string, operation: Placed): boolean {
  const matches = (PHASES as Readonly<Record<string, (operation: Placed) => boolean>>)[phase];
  return matches?.(operation) === true;
}
