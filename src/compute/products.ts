/**
 * The second part of a projection: the large products, on any device (docs/algorithms.md, C.4 and C.5.2).
 *
 * All is written for S with its shorter side first, k x n. V has the needed eigenvectors of S S^T as rows, and h of them
 * are the head. Long products go by panels of rows of T and of the result, one slice of work each.
 */
import { headCoefficients, headOf, type OpcmRule, tailCoefficients, tailMultiple } from '../merge/opcm.ts';
import type { Decomposition } from './decompose.ts';
import type { DeviceMatrix } from './device.ts';
import type { WideMatrix } from './wide.ts';
import { type Scales, scalesFor, Workbench, type WorkbenchComponents } from './workbench.ts';

export interface ProductsInput {
  /** S; C is added to it. */
  readonly sum: WideMatrix;
  /** S as float64, k x n, where the caller has it. */
  readonly whole?: Float64Array;
  /** T. */
  readonly update: WideMatrix;
  /** <S, T> and |T|, float64. */
  readonly inner: number;
  readonly updateNorm: number;
  readonly rule: OpcmRule;
  readonly decomposition: Decomposition;
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
  return input.rule.variant === 'ref' ? addRef(input, scales, bench) : addLite(input, scales, bench);
}

/** C = T - U W S, where W = R V: the head's rows are R_h V_h, those of the tail d_i v_i. */
async function addRef<Matrix extends DeviceMatrix>(
  { sum, whole, update, inner, decomposition }: ProductsInput,
  scales: Scales,
  bench: Workbench<Matrix>,
): Promise<Added> {
  const { spectrum, vectors } = decomposition;
  const { short: k, long: n } = sum;
  const { rank } = spectrum;
  const head = headOf(spectrum);
  const values = bench.scaledValues(decomposition.values);
  const s = await bench.uploadSum(sum, whole);
  const kept: Matrix[] = [];

  // Y = V T S^T
  let y = await bench.upload(new Float64Array(rank * k), rank, k);
  for (const [start, end] of bench.panels(k, n, k * (n + rank))) {
    const t = await bench.uploadPanel(update, start, end, scales.update);
    const m = await bench.run('timesTransposed', { A: t, B: s }, end - start, k, n);
    const u = await bench.uploadColumns(vectors, rank, k, start, end);
    const next = await bench.run('addTransposedTimes', { A: u, B: m, C: y }, rank, k, end - start);
    bench.release(m, u, y);
    y = next;
    if (bench.resident) kept.push(t);
    else bench.release(t);
  }

  const coupling = await bench.download(y);
  const diagonal = new Float64Array(rank);
  for (let i = 0; i < rank; i++) {
    let b = 0;
    for (let j = i * k; j < (i + 1) * k; j++) b += coupling[j]! * vectors[j]!;
    diagonal[i] = b;
  }
  const w = bench.scratch(rank * k);
  if (head > 0) {
    const yHead = await bench.upload(coupling.subarray(0, head * k), head, k);
    const vHead = await bench.upload(vectors.subarray(0, head * k), head, k);
    const block = await bench.run('timesTransposed', { A: yHead, B: vHead }, head, head, k);
    const r = await bench.upload(headCoefficients(await bench.download(block), values, head), head, head);
    const rows = await bench.run('times', { A: r, B: vHead }, head, k, head);
    w.set(await bench.download(rows));
    bench.release(yHead, vHead, block, r, rows);
  }
  bench.release(y);
  tailCoefficients(diagonal.subarray(head), values, head).forEach((d, i) => {
    for (let j = (head + i) * k; j < (head + i + 1) * k; j++) w[j] = d * vectors[j]!;
  });

  const wMatrix = await bench.upload(w, rank, k);
  const added = { inner: 0, squares: 0 };
  for (const [start, end] of bench.panels(k, n, k * (n + rank))) {
    const t = kept.shift() ?? (await bench.uploadPanel(update, start, end, scales.update));
    const u = await bench.uploadColumns(vectors, rank, k, start, end);
    const factor = await bench.run('times', { A: u, B: wMatrix }, end - start, k, rank);
    const c = await bench.run('minusTimes', { A: factor, B: s, C: t }, end - start, n, k);
    await bench.add(sum, start, end, c, added);
    bench.release(t, u, factor, c);
  }
  bench.release(wMatrix, s);
  bench.give(w);
  const seen = diagonal.reduce((total, b) => total + b, 0) / (scales.sum * scales.update);
  return { ...added, expectedInner: inner - seen };
}

/** C = T - c S - U_h (R_h - c) Q, where Q = V_h S: S_tail is S - U_h Q. */
async function addLite<Matrix extends DeviceMatrix>(
  { sum, whole, update, inner, decomposition }: ProductsInput,
  scales: Scales,
  bench: Workbench<Matrix>,
): Promise<Added> {
  const { spectrum, vectors } = decomposition;
  const { short: k, long: n } = sum;
  const head = headOf(spectrum);
  const values = bench.scaledValues(decomposition.values);
  let along = inner * scales.sum * scales.update;
  let f: Matrix | null = null;
  let multiple: number;
  if (head === 0) {
    multiple = tailMultiple(along, values, spectrum);
  } else {
    const s = await bench.uploadSum(sum, whole);
    const v = await bench.upload(vectors, head, k);
    const q = await bench.assemble('times', v, vectors, s, n);
    bench.release(v, s);
    let block = await bench.upload(new Float64Array(head * head), head, head);
    for (const [start, end] of bench.panels(k, n, head * (n + head))) {
      const t = await bench.uploadPanel(update, start, end, scales.update);
      const tq = await bench.run('timesTransposed', { A: t, B: q }, end - start, head, n);
      const u = await bench.uploadColumns(vectors, head, k, start, end);
      const next = await bench.run('addTransposedTimes', { A: u, B: tq, C: block }, head, head, end - start);
      bench.release(t, tq, u, block);
      block = next;
    }
    const coupling = Float64Array.from(await bench.download(block));
    bench.release(block);
    for (let i = 0; i < head; i++) along -= coupling[i * head + i]!;
    multiple = tailMultiple(along, values, spectrum);
    const r = headCoefficients(coupling, values, head);
    for (let i = 0; i < head; i++) r[i * head + i]! -= multiple;
    const rMatrix = await bench.upload(r, head, head);
    f = await bench.assemble('times', rMatrix, r, q, n);
    bench.release(rMatrix, q);
  }

  const added = { inner: 0, squares: 0 };
  for (const [start, end] of bench.panels(k, n, head * n)) {
    const t = await bench.uploadDifference(update, sum, multiple, start, end);
    if (f === null) {
      await bench.add(sum, start, end, t, added);
    } else {
      const u = await bench.uploadColumns(vectors, head, k, start, end);
      const c = await bench.run('minusTimes', { A: u, B: f, C: t }, end - start, n, head);
      await bench.add(sum, start, end, c, added);
      bench.release(u, c);
    }
    bench.release(t);
  }
  if (f !== null) bench.release(f);
  // With nothing of the tail removed, all of <S_tail, T> stays.
  return { ...added, expectedInner: multiple === 0 ? along / (scales.sum * scales.update) : 0 };
}
