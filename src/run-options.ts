/** What a long call tells about how far it is. `total` is 0 while unknown. */
export interface Progress {
  /** A short verb phrase for people, e.g. `reading base`. */
  readonly phase: string;
  readonly done: number;
  readonly total: number;
  readonly unit: 'bytes' | 'tensors' | 'updates' | 'samples';
}

/** Options that every long call takes. */
export interface RunOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}
