/** Inputs for the graphs of the projection, and runs of one graph on any device. */
import type { DeviceMatrix, MatrixDevice } from '../../../src/compute/device.ts';
import type { GraphName } from '../../../src/compute/graphs.ts';
import type { Bulk } from '../../../src/compute/provider/parcels.ts';
import { gaussian32 } from './random.ts';

/** Y is p x q, and n is the length of the sums. */
export interface GraphCase {
  readonly graph: GraphName;
  readonly p: number;
  readonly n: number;
  readonly q: number;
}

export function inputsOf({ graph, p, n, q }: GraphCase): Record<string, Float32Array<ArrayBuffer>> {
  const inputs: Record<string, Float32Array<ArrayBuffer>> = { A: gaussian32(p * n, 1), B: gaussian32(n * q, 2) };
  if (/^(add|minus)/.test(graph)) inputs.C = gaussian32(p * q, 3);
  return inputs;
}

export async function runGraph<Matrix extends DeviceMatrix>(
  { graph, p, n, q }: GraphCase,
  arrays: Readonly<Record<string, Bulk>>,
  device: MatrixDevice<Matrix>,
): Promise<Float32Array | Float64Array> {
  const a = graph.includes('TransposedTimes') ? ([n, p] as const) : ([p, n] as const);
  const b = graph.endsWith('Transposed') ? ([q, n] as const) : ([n, q] as const);
  const { A, B, C } = arrays;
  const inputs: Record<string, Matrix> = { A: await device.upload(A!, ...a), B: await device.upload(B!, ...b) };
  if (C !== undefined) inputs.C = await device.upload(C, p, q);
  const y = await device.run(graph, inputs, p, q);
  const result = (await device.download(y)).slice();
  device.release(y, ...Object.values(inputs));
  return result;
}
