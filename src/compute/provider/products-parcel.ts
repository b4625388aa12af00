/** The large products of a prepared job, as its engine asks a device's process for them. */

import type { ProjectionJob, ProjectionResult } from '../engine.ts';
import type { Phase } from '../meter.ts';
import type { Decomposition } from '../projection/decompose.ts';
import type { PreparedJob, Squares } from '../projection/projection.ts';
import type { Parcel } from './parcels.ts';

/** Beside the arrays `sum`, `update`, `values` and `vectors`, and `right` for `ref`. */
export interface ProductsFields extends Pick<ProjectionJob, 'rows' | 'columns' | 'rule'> {
  readonly squares: Squares;
  readonly spectrum: Decomposition['spectrum'];
  readonly phases: readonly Phase[];
}

/** Beside the array `sum`. */
export type ResultFields = Omit<ProjectionResult, 'sum' | 'update'>;

/** The parcel for the task; it takes nothing away from the job. */
export function productsParcel(
  job: ProjectionJob,
  { sum, update, squares, decomposition, right, phases }: PreparedJob,
): Parcel {
  const { rows, columns, rule } = job;
  const { spectrum, values, vectors } = decomposition;
  const fields: ProductsFields = { rows, columns, rule, squares, spectrum, phases };
  return { fields, arrays: { sum, update, values: values.slice(), vectors, ...(right && { right }) } };
}

/** The result that the task's answer means, in the buffers of the job. */
export function productsResult({ sum, update }: PreparedJob, answer: Parcel): ProjectionResult {
  sum.set(answer.arrays.sum!);
  return { ...(answer.fields as ResultFields), sum, update };
}
