import { aligned, ELEMENT_PADDING, KERNEL_DTYPES, type Kernel } from '../kernel/kernel.ts';
import { cutBucket, keepCount, locate, sampleDeviation, type Threshold } from '../select.ts';
import { maskWords } from '../ternary.ts';
import type { SignMasks } from '../types.ts';
import { type Elements, measure, refine, ternarise } from './passes.ts';

/** A task vector's entries, or a part of them, brought into a kernel's memory. */
export class ValuesInput implements Elements {
  readonly #at: number;
  readonly #count: number;
  readonly end: number;

  constructor(kernel: Kernel, values: Float32Array) {
    this.#at = kernel.heap;
    this.#count = values.length;
    this.end = aligned(this.#at + values.byteLength + ELEMENT_PADDING);
    kernel.reach(this.end);
    kernel.f32(this.#at, values.length).set(values);
  }

  *pieces() {
    const count = this.#count;
    if (count > 0) yield { base: 0, baseDtype: 0, tune: this.#at, tuneDtype: KERNEL_DTYPES.F32, from: 0, count };
  }
}

/** What was selected of some values. */
export interface SelectedValues {
  /** Position of the first NaN or infinity, or -1; the rest counts only then. */
  readonly bad: number;
  readonly masks: SignMasks;
  /** Mean magnitude of the kept entries: the scale of least square error; 0 when none is kept. */
  readonly magnitude: number;
  /** Sample standard deviation of all the values. */
  readonly deviation: number;
}

/** The top-k of values in memory by the exact rule (docs/algorithms.md B.1). */
export function selectValues(kernel: Kernel, values: Float32Array, density: number): SelectedValues {
  const input = new ValuesInput(kernel, values);
  const { bad, upper, sum } = measure(kernel, input, true);
  const empty = { plus: new Uint32Array(0), minus: new Uint32Array(0), nnz: 0 };
  if (bad >= 0) return { bad, masks: empty, magnitude: 0, deviation: 0 };
  const keep = keepCount(density, values.length);
  const place = locate(upper, keep);
  const refined = refine(kernel, input, place.bucket, values.length === 0 ? 0 : sum / values.length);
  const cut = cutBucket(refined.lower, place, keep);
  return {
    bad,
    masks: cutValues(kernel, input, values.length, cut),
    magnitude: cut.kept === 0 ? 0 : (refined.magnitudes + cut.magnitudes) / cut.kept,
    deviation: sampleDeviation(refined.squares, values.length),
  };
}

/** The masks of a selection that was made before, in JavaScript's memory. */
export function cutValues(kernel: Kernel, input: Elements, elements: number, cut: Threshold): SignMasks {
  const { plus, minus, nnz } = ternarise(kernel, input, elements, cut);
  const words = maskWords(elements);
  return { plus: kernel.u32(plus, words).slice(), minus: kernel.u32(minus, words).slice(), nnz };
}
