/** How a job lets itself be stopped. */
export interface Pace {
  /** Called between slices, and before and after `interruptible` work; throws to stop the job. */
  pause(): Promise<void>;
  /** Runs long work of one piece that never enters onnxruntime. */
  interruptible<T>(work: () => T): T;
}
