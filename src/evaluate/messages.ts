import type { Feed, GraphPort } from './types.ts';

/** What the evaluation asks of the thread that runs the graph; each request gets one reply, in order. */
export type ToWorker =
  /** Loads a graph. */
  | { readonly kind: 'open'; readonly graph: string }
  /** Keeps a value for every run that follows; replaces the one of the same name. */
  | { readonly kind: 'hold'; readonly name: string; readonly feed: Feed }
  /** Runs the graph on one batch and what is held. */
  | { readonly kind: 'run'; readonly name: string; readonly feed: Feed; readonly output: string }
  | { readonly kind: 'close' };

export type FromWorker =
  | { readonly kind: 'opened'; readonly inputs: readonly GraphPort[]; readonly outputs: readonly GraphPort[] }
  | { readonly kind: 'held' }
  | { readonly kind: 'scores'; readonly data: Float32Array; readonly dims: readonly number[] }
  | { readonly kind: 'failed'; readonly message: string };
