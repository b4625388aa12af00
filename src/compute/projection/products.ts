/**
 * The second part of a projection: the large products, on any device (docs/algorithms.md, C.4 and C.5.2).
 *
 * All is written for S with its shorter side first, k x n, and by blocks of its columns: S_b and T_b. V has the needed
 * eigenvectors of S S^T as rows, the first h of them are the head.
 */
import { headCoefficients, headOf, type OpcmRule, tailCoefficients, tailMultiple } from '../../merge/opcm.ts';
import type { Buffers } from '../buffers.ts';
import type { DeviceMatrix } from '../device.ts';
import type { Decomposition } from './decompose.ts';
import { addRefByVectors } from './ref-products.ts';
import { addRefByRows } from './ref-rows.ts';
import type { WideMatrix } from './wide.ts';
import { type Scales, scalesFor, Workbench, type WorkbenchComponents } from './workbench.ts';

export interface ProductsInput {
  /** S; C is added to it. */
  readonly sum: WideMatrix;
  /** T. */
  readonly update: WideMatrix;
  /** <S, T> and |T|, float64. */
  readonly inner: number;
  readonly updateNorm: number;
  readonly rule: OpcmRule;
  readonly decomposition: Decomposition;
  /** For `ref` on a device of float32 products: `rightVectorsOf` the sum. */
  readonly right?: Float32Array | undefined;
}

export interface Added {
  /** <S, C> as measured, and what it should be but for rounding. */
  readonly inner: number;
  readonly expectedInner: number;
  /** |C|^2. */
  readonly squares: number;
}

/** S <- S + C. @throws ComputeError `RUNTIME_FAILED` */
export async function addProjected<Matrix extends DeviceMatrix>(
  input: ProductsInput,
  components: WorkbenchComponents<Matrix>,
): Promise<Added> {
  const scales = scalesFor(components.device.type, input.decomposition.spectrum.sigmaMax, input.updateNorm);
  const bench = new Workbench(scales, components);
  if (input.rule.variant === 'lite') return addLite(input, scales, bench);
  const { right } = input;
  if (right !== undefined) return addRefByVectors({ ...input, right }, scales, bench, components.buffers);
  if (input.sum.long < 2 * input.sum.short) return addRefByRows(input, bench, components.buffers);
  return addRef(input, scales, bench, components.buffers);
}

/** C = T - K S with K = V^T R V: R is a block on the head and a diagonal on the tail. */
async function addRef<Matrix extends DeviceMatrix>(
  { sum, update, inner, decomposition }: ProductsInput,
  scales: Scales,
  bench: Workbench<Matrix>,
  buffers: Buffers,
): Promise<Added> {
  const { spectrum, vectors } = decomposition;
  const { short: k } = sum;
  const { rank } = spectrum;
  const blocks = bench.blocks(sum, k * k);

  // M = T S^T, and V M
  let m: Matrix | null = null;
  for (const range of blocks) {
    const t = await bench.block('update', update, range, false);
    const s = await bench.block('sum', sum, range, false);
    m = await bench.addTimesTransposed(m, t, s);
    bench.release(t, s);
  }
  const coupling = buffers.float64(rank * k);
  await bench.timesInto(coupling, vectors, m!);
  bench.release(m!);

  const diagonal = await removeInto(coupling, decomposition, bench);
  const kernel = await bench.transposedTimes(vectors, coupling, rank, k, k);
  buffers.give(coupling);

  const added = { inner: 0, squares: 0 };
  for (const range of blocks) {
    const t = await bench.block('update', update, range, true);
    const s = await bench.block('sum', sum, range, true);
    const c = await bench.run('minusTimes', { A: kernel, B: s, C: t }, k, range[1] - range[0], k);
    bench.release(t, s);
    await bench.add(sum, range, c, added);
    bench.release(c);
  }
  bench.release(kernel);
  const seen = diagonal.reduce((total, b) => total + b, 0) / (scales.sum * scales.update);
  return { ...added, expectedInner: inner - seen };
}

/**
 * Puts R V in the place of V M.
 *
 * @returns the diagonal of V M V^T
 */
async function removeInto<Matrix extends DeviceMatrix>(
  coupling: Float64Array,
  { spectrum, vectors, values: unscaled }: Decomposition,
  bench: Workbench<Matrix>,
): Promise<Float64Array> {
  const { rank } = spectrum;
  const k = unscaled.length;
  const head = headOf(spectrum);
  const values = bench.scaledValues(unscaled);
  const diagonal = new Float64Array(rank);
  for (let i = 0; i < rank; i++) {
    let b = 0;
    for (let j = i * k; j < (i + 1) * k; j++) b += coupling[j]! * vectors[j]!;
    diagonal[i] = b;
  }
  if (head > 0) {
    const v = await bench.upload(vectors.subarray(0, head * k), head, k);
    const block = new Float64Array(head * head);
    await bench.timesTransposedInto(block, coupling.subarray(0, head * k), v);
    await bench.timesInto(coupling, headCoefficients(block, values, head), v);
    bench.release(v);
  }
  tailCoefficients(diagonal.subarray(head), values, head).forEach((d, i) => {
    for (let j = (head + i) * k; j < (head + i + 1) * k; j++) coupling[j] = d * vectors[j]!;
  });
  return diagonal;
}

/** C = T - c S - V_h^T (R_h - c) Q, where Q = V_h S: S_tail is S - V_h^T Q. */
async function addLite<Matrix extends DeviceMatrix>(
  { sum, update, inner, decomposition }: ProductsInput,
  scales: Scales,
  bench: Workbench<Matrix>,
): Promise<Added> {
  const { spectrum, vectors } = decomposition;
  const { short: k } = sum;
  const head = headOf(spectrum);
  const values = bench.scaledValues(decomposition.values);
  const blocks = bench.blocks(sum, 2 * k * Math.max(head, 1));
  let along = inner * scales.sum * scales.update;

  const v = head === 0 ? null : await bench.upload(vectors, head, k);
  const qs: Matrix[] = [];
  let r: Matrix | null = null;
  let multiple: number;
  if (v === null) {
    multiple = tailMultiple(along, values, spectrum);
  } else {
    // N = T Q^T, and V_h N
    let n: Matrix | null = null;
    for (const range of blocks) {
      const width = range[1] - range[0];
      const s = await bench.block('sum', sum, range, true);
      const q = await bench.run('times', { A: v, B: s }, head, width, k);
      bench.release(s);
      const t = await bench.block('update', update, range, true);
      n = await bench.addTimesTransposed(n, t, q);
      bench.release(t);
      qs.push(q);
    }
    const coupling = new Float64Array(head * head);
    await bench.timesInto(coupling, vectors, n!);
    bench.release(n!);
    for (let i = 0; i < head; i++) along -= coupling[i * head + i]!;
    multiple = tailMultiple(along, values, spectrum);
    const coefficients = headCoefficients(coupling, values, head);
    for (let i = 0; i < head; i++) coefficients[i * head + i]! -= multiple;
    r = await bench.upload(coefficients, head, head);
  }

  const added = { inner: 0, squares: 0 };
  for (const range of blocks) {
    const t = await bench.differenceBlock(update, sum, multiple, range);
    if (v === null || r === null) {
      await bench.add(sum, range, t, added);
    } else {
      const width = range[1] - range[0];
      const q = qs.shift()!;
      const f = await bench.run('times', { A: r, B: q }, head, width, head);
      const c = await bench.run('minusTransposedTimes', { A: v, B: f, C: t }, k, width, head);
      await bench.add(sum, range, c, added);
      bench.release(q, f, c);
    }
    bench.release(t);
  }
  if (v !== null) bench.release(v);
  if (r !== null) bench.release(r);
  // With nothing of the tail removed, all of <S_tail, T> stays.
  return { ...added, expectedInner: multiple === 0 ? along / (scales.sum * scales.update) : 0 };
}
