/** The products of `ref` with right singular vectors in place of S, for devices whose products are float32. */
import { headOf } from '../../merge/opcm.ts';
import type { Buffers } from '../buffers.ts';
import type { DeviceMatrix } from '../device.ts';
import type { Added, ProductsInput } from './products.ts';
import type { Range } from './wide.ts';
import type { Scales, Workbench } from './workbench.ts';

/** C = T - V^T R Q with R = V T Q^T on the head's block and on the tail's diagonal, and 0 elsewhere. */
export async function addRefByVectors<Matrix extends DeviceMatrix>(
  { sum, update, inner, decomposition, right }: ProductsInput & { readonly right: Float32Array },
  scales: Scales,
  bench: Workbench<Matrix>,
  buffers: Buffers,
): Promise<Added> {
  const { spectrum, vectors, values } = decomposition;
  const { short: k, long: n } = sum;
  const { rank } = spectrum;
  const blocks = bench.blocks(sum, k * rank);
  const rightBlock = ([start, end]: Range): Promise<Matrix> =>
    bench.fill(rank, end - start, (entries) => {
      for (let i = 0; i < rank; i++) entries.set(right.subarray(i * n + start, i * n + end), i * (end - start));
    });

  // T Q^T, and R
  const qs: Matrix[] = [];
  let tq: Matrix | null = null;
  for (const range of blocks) {
    const t = await bench.block('update', update, range, false);
    const q = await rightBlock(range);
    tq = await bench.addTimesTransposed(tq, t, q);
    bench.release(t);
    qs.push(q);
  }
  const r = buffers.float64(rank * rank);
  await bench.timesInto(r, vectors, tq!);
  bench.release(tq!);
  keepRemoved(r, rank, headOf(spectrum));
  const left = await bench.transposedTimes(vectors, r, rank, k, rank);

  const added = { inner: 0, squares: 0 };
  for (const [i, range] of blocks.entries()) {
    const t = await bench.block('update', update, range, true);
    const c = await bench.run('minusTimes', { A: left, B: qs[i]!, C: t }, k, range[1] - range[0], rank);
    bench.release(t, qs[i]!);
    await bench.add(sum, range, c, added);
    bench.release(c);
  }
  bench.release(left);
  let seen = 0;
  for (let i = 0; i < rank; i++) seen += (r[i * rank + i]! * Math.sqrt(values[i]!)) / scales.update;
  buffers.give(r);
  return { ...added, expectedInner: inner - seen };
}

/** Zeros for what `ref` leaves in the update. */
function keepRemoved(r: Float64Array, rank: number, head: number): void {
  for (let i = 0; i < rank; i++) {
    for (let j = 0; j < rank; j++) if (i !== j && (i >= head || j >= head)) r[i * rank + j] = 0;
  }
}
