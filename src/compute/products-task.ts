/** The large products of a prepared job, on a device. Runs in the device's process; asked for by its engine. */
import type { Decomposition } from './decompose.ts';
import type { DeviceTask } from './device-server.ts';
import type { ProjectionJob, ProjectionResult } from './engine.ts';
import { Meter, type Phase } from './meter.ts';
import type { Parcel } from './parcels.ts';
import { addProjected } from './products.ts';
import { type PreparedJob, productsInput, projected, type Squares } from './projection.ts';

interface ProductsFields extends Pick<ProjectionJob, 'rows' | 'columns' | 'rule'> {
  readonly squares: Squares;
  readonly spectrum: Decomposition['spectrum'];
  readonly phases: readonly Phase[];
}

type ResultFields = Omit<ProjectionResult, 'sum' | 'update'>;

/** The parcel for the task; it takes nothing away from the job. */
export function productsParcel(
  job: ProjectionJob,
  { sum, update, squares, decomposition, phases }: PreparedJob,
): Parcel {
  const { rows, columns, rule } = job;
  const { spectrum, values, vectors } = decomposition;
  const fields: ProductsFields = { rows, columns, rule, squares, spectrum, phases };
  return { fields, arrays: { sum, update, values: exactly(values), vectors } };
}

/** The result that the task's answer means, in the buffers of the job. */
export function productsResult({ sum, update }: PreparedJob, answer: Parcel): ProjectionResult {
  sum.set(answer.arrays.sum!);
  return { ...(answer.fields as ResultFields), sum, update };
}

export const productsTask: DeviceTask = async ({ fields, arrays }, { provider, device, buffers, pace }) => {
  const { rows, columns, rule, squares, spectrum, phases } = fields as ProductsFields;
  const sum = arrays.sum as Float32Array<ArrayBuffer>;
  const update = arrays.update as Float32Array<ArrayBuffer>;
  const values = arrays.values as Float64Array<ArrayBuffer>;
  const vectors = arrays.vectors as Float64Array<ArrayBuffer>;
  const decomposition = { spectrum, values, vectors };
  const job = { sum, update, rows, columns, rule };
  const meter = new Meter();
  meter.add(phases);
  const input = await productsInput(job, squares, decomposition, meter);
  const added = await addProjected(input, { device, name: provider, buffers, pace, meter });
  const { sum: newSum, update: _, ...rest } = await projected(job, squares, decomposition, added, meter);
  return { fields: rest satisfies ResultFields, arrays: { sum: newSum } };
};

/** The same entries; a new array only where they are not in memory of their own kind. */
function exactly(values: Float64Array): Float64Array<ArrayBuffer> {
  return values.buffer instanceof ArrayBuffer ? (values as Float64Array<ArrayBuffer>) : Float64Array.from(values);
}
