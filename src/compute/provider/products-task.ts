/** The large products of a prepared job, on a device. Runs in the device's process. */

import { Meter } from '../meter.ts';
import { addProjected } from '../projection/products.ts';
import { productsInput, projected } from '../projection/projection.ts';
import type { DeviceTask } from './device-server.ts';
import type { ProductsFields, ResultFields } from './products-parcel.ts';

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
  const input = productsInput(job, squares, decomposition);
  const right = arrays.right as Float32Array | undefined;
  const added = await addProjected({ ...input, right }, { device, name: provider, buffers, pace, meter });
  const { sum: newSum, update: _, ...rest } = await projected(job, squares, decomposition, added, meter);
  return { fields: rest satisfies ResultFields, arrays: { sum: newSum } };
};
