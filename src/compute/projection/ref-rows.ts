/** The products of `ref` for matrices that are not much longer than wide, by the rows of V S and V T. */
import { headCoefficients, headOf, tailCoefficients } from '../../merge/opcm.ts';
import type { Buffers } from '../buffers.ts';
import type { DeviceMatrix } from '../device.ts';
import type { Added, ProductsInput } from './products.ts';
import type { Workbench } from './workbench.ts';

/**
 * C = T - V^T F with F = R V S, and R from P = V T and W = V S: <p_i, w_j> is what V T S^T V^T has at i, j.
 *
 * With k x n that is 3 k^2 n multiply-adds where the kernel of `products.ts` takes 2 k^2 n + 2 k^3.
 */
export async function addRefByRows<Matrix extends DeviceMatrix>(
  { sum, update, inner, decomposition }: ProductsInput,
  bench: Workbench<Matrix>,
  buffers: Buffers,
): Promise<Added> {
  const { spectrum, vectors, values } = decomposition;
  const { short: k } = sum;
  const { rank } = spectrum;
  const head = headOf(spectrum);
  const blocks = bench.blocks(sum, k * rank);
  const v = await bench.upload(vectors, rank, k);

  const diagonal = new Float64Array(rank);
  const ws: Matrix[] = [];
  let block: Matrix | null = null;
  for (const range of blocks) {
    const width = range[1] - range[0];
    const s = await bench.block('sum', sum, range, true);
    const w = await bench.run('times', { A: v, B: s }, rank, width, k);
    bench.release(s);
    const t = await bench.block('update', update, range, true);
    const p = await bench.run('times', { A: v, B: t }, rank, width, k);
    bench.release(t);
    const [pRows, wRows] = [await bench.download(p), await bench.download(w)];
    addRowProducts(diagonal, pRows, wRows, width);
    if (head > 0) {
      const pHead = await bench.upload(pRows.subarray(0, head * width), head, width);
      const wHead = await bench.upload(wRows.subarray(0, head * width), head, width);
      block = await bench.addTimesTransposed(block, pHead, wHead);
      bench.release(pHead, wHead);
    }
    bench.release(p);
    ws.push(w);
  }
  const r = block === null ? null : headCoefficients(await bench.download(block), values, head);
  if (block !== null) bench.release(block);
  const d = tailCoefficients(diagonal.subarray(head), values, head);

  const added = { inner: 0, squares: 0 };
  for (const [i, range] of blocks.entries()) {
    const width = range[1] - range[0];
    const w = ws[i]!;
    const rows = await bench.download(w);
    const entries = buffers.float64(rank * width);
    if (r !== null) {
      const wHead = await bench.upload(rows.subarray(0, head * width), head, width);
      await bench.timesInto(entries.subarray(0, head * width), r, wHead);
      bench.release(wHead);
    }
    d.forEach((factor, tail) => {
      for (let j = (head + tail) * width; j < (head + tail + 1) * width; j++) entries[j] = factor * rows[j]!;
    });
    const f = await bench.upload(entries, rank, width);
    const t = await bench.block('update', update, range, true);
    const c = await bench.run('minusTransposedTimes', { A: v, B: f, C: t }, k, width, rank);
    bench.release(f, t, w);
    buffers.give(entries);
    await bench.add(sum, range, c, added);
    bench.release(c);
  }
  bench.release(v);
  return { ...added, expectedInner: inner - diagonal.reduce((total, b) => total + b, 0) };
}

/** Adds <p_i, w_i>. */
function addRowProducts(
  diagonal: Float64Array,
  p: Float32Array | Float64Array,
  w: Float32Array | Float64Array,
  width: number,
): void {
  for (let i = 0; i < diagonal.length; i++) {
    let product = 0;
    for (let j = i * width; j < (i + 1) * width; j++) product += p[j]! * w[j]!;
    diagonal[i]! += product;
  }
}
