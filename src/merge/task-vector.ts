/** What the fold reads: one update, tensor by tensor. */

export interface FoldTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** Whether the projection applies; the explicit list decides, also for matrices with one row or column. */
  readonly linear: boolean;
}

export interface TaskVector {
  /**
   * Norm of the whole task vector; when left out, it is summed up from what `read` gives. A promise is waited for at the
   * end of the step, and ends the step when it fails: a payload can be checked beside being folded.
   */
  readonly norm?: number | Promise<number>;
  /**
   * Writes the tensor at a position of the fold's tensor list, row-major, over all of `out`.
   *
   * Called at most once for each position, in ascending order, one call at a time.
   *
   * @returns false when the tensor is all zero; `out` need not be written then
   */
  read(index: number, out: Float32Array): Promise<boolean>;
}

/** Product of the sizes; 1 for a scalar. */
export function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
