import { popcount } from '../codec/ternary.ts';
import type { PayloadMeasure, TernaryTensor } from '../codec/types.ts';
import type { RunOptions } from '../run-options.ts';
import type { TernarySource } from './counts.ts';
import { KinshipError } from './errors.ts';
import { fixedScale, meanKinship, zeroUpdate } from './fixed.ts';

/**
 * Most updates in one kinship state. One update adds at most 2³² to an entry, so 2²⁰ of them keep every entry within
 * ±2⁵², where a float64 holds each integer exactly and one more addition stays exact too (docs/algorithms.md D.2).
 */
export const MAX_KINSHIP_UPDATES = 2 ** 20;

/** Entries summed in float64 limbs before they move into a BigInt: 2²⁰ low limbs below 2³² stay below 2⁵². */
const BLOCK_WORDS = 2 ** 15;
const LIMB = 2 ** 32;

/**
 * Z: per parameter the sum of all accepted updates, each normalised to length 1, in fixed point. The specification's
 * int64 is a Float64Array of exact integers here: JavaScript adds those natively, and `MAX_KINSHIP_UPDATES` bounds them.
 * Integer addition has no order, so the state depends on which updates it holds and on nothing else, and subtracting an
 * update restores the bits from before it.
 *
 * Memory: 8 bytes per element of the tensors that some update has touched. Calls run one after another in call order.
 */
export class KinshipState {
  readonly #tensors = new Map<number, Float64Array>();
  #count = 0;
  #spoiled = false;
  #last: Promise<unknown> = Promise.resolve();

  /** How many updates the state holds. */
  get count(): number {
    return this.#count;
  }

  /**
   * Adds one update. If that fails or is aborted, the state is as it was.
   *
   * @throws KinshipError TOO_MANY_UPDATES, ZERO_UPDATE, MEASURE_MISMATCH, TABLE_MISMATCH, STATE_SPOILED
   */
  add(payload: TernarySource, measure: PayloadMeasure, options: RunOptions = {}): Promise<void> {
    return this.#serially(async () => {
      if (this.#count >= MAX_KINSHIP_UPDATES) {
        throw new KinshipError(
          'TOO_MANY_UPDATES',
          `The kinship state holds ${MAX_KINSHIP_UPDATES} updates, the most that keep it exact: start a new community from the merged model.`,
          { limit: MAX_KINSHIP_UPDATES },
        );
      }
      await this.#change(payload, measure, 1, options);
      this.#count += 1;
    });
  }

  /**
   * Takes out an update that was added before; the caller answers for that. If it fails, the state is as it was.
   *
   * @throws KinshipError STATE_EMPTY, ZERO_UPDATE, MEASURE_MISMATCH, TABLE_MISMATCH, STATE_SPOILED
   */
  subtract(payload: TernarySource, measure: PayloadMeasure, options: RunOptions = {}): Promise<void> {
    return this.#serially(async () => {
      if (this.#count === 0) {
        throw new KinshipError('STATE_EMPTY', 'The kinship state holds no update: subtract only what was added.');
      }
      await this.#change(payload, measure, -1, options);
      this.#count -= 1;
    });
  }

  /**
   * ⟨a/‖a‖, Z⟩ as an exact integer with 64 fractional bits: the sum of `pairFixed` over the updates held.
   *
   * @throws KinshipError MEASURE_MISMATCH, TABLE_MISMATCH, STATE_SPOILED
   */
  dot(payload: TernarySource, measure: PayloadMeasure, options: RunOptions = {}): Promise<bigint> {
    return this.#serially(async () => {
      let sum = 0n;
      for (const expected of measure.tensors) {
        const tensor = await readTensor(payload, expected, options);
        const state = this.#tensors.get(tensor.index);
        if (state === undefined) continue;
        checkLength(tensor, state);
        sum += BigInt(fixedScale(tensor.scale, measure.norm)) * signedSum(state, tensor);
      }
      return sum;
    });
  }

  /** Mean pairwise cosine of an update to those held; null for the zero update or an empty state. Throws as `dot`. */
  async meanCosine(payload: TernarySource, measure: PayloadMeasure, options: RunOptions = {}): Promise<number | null> {
    const sum = await this.dot(payload, measure, options);
    return measure.norm > 0 ? meanKinship(sum, this.#count) : null;
  }

  async #change(payload: TernarySource, measure: PayloadMeasure, sign: 1 | -1, options: RunOptions): Promise<void> {
    if (!(measure.norm > 0)) throw zeroUpdate();
    if (payload.sections.length !== measure.tensors.length) throw measureMismatch(measure.tensors[0]?.index ?? 0);
    let done = 0;
    try {
      for (const expected of measure.tensors) {
        const tensor = await readTensor(payload, expected, options);
        this.#addTensor(tensor, sign * fixedScale(tensor.scale, measure.norm));
        done += 1;
        options.onProgress?.({ phase: 'summing', done, total: measure.tensors.length, unit: 'tensors' });
      }
    } catch (error) {
      await this.#undo(payload, measure, sign, done);
      throw error;
    }
  }

  async #undo(payload: TernarySource, measure: PayloadMeasure, sign: 1 | -1, done: number): Promise<void> {
    try {
      // Without the caller's signal: the abort may be what brought us here.
      for (const expected of measure.tensors.slice(0, done)) {
        const tensor = await readTensor(payload, expected, {});
        this.#addTensor(tensor, -sign * fixedScale(tensor.scale, measure.norm));
      }
    } catch {
      this.#spoiled = true;
    }
  }

  #addTensor(tensor: TernaryTensor, fixed: number): void {
    let state = this.#tensors.get(tensor.index);
    if (state === undefined) {
      state = new Float64Array(tensor.elements);
      this.#tensors.set(tensor.index, state);
    }
    checkLength(tensor, state);
    addMasked(state, tensor.plus, fixed);
    addMasked(state, tensor.minus, -fixed);
  }

  /** One call at a time: a `dot` between two tensors of an `add` would see half an update. */
  #serially<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#last.then(() => {
      if (this.#spoiled) {
        throw new KinshipError(
          'STATE_SPOILED',
          'An interrupted change of the kinship state could not be undone: rebuild it from the accepted updates.',
        );
      }
      return work();
    });
    this.#last = run.catch(() => undefined);
    return run;
  }
}

async function readTensor(
  payload: TernarySource,
  expected: PayloadMeasure['tensors'][number],
  options: RunOptions,
): Promise<TernaryTensor> {
  options.signal?.throwIfAborted();
  const tensor = await payload.tensor(expected.index, options.signal ? { signal: options.signal } : {});
  if (
    tensor === null ||
    tensor.scale !== expected.scale ||
    popcount(tensor.plus) !== expected.plus ||
    popcount(tensor.minus) !== expected.minus
  ) {
    throw measureMismatch(expected.index);
  }
  return tensor;
}

function measureMismatch(index: number): KinshipError {
  return new KinshipError(
    'MEASURE_MISMATCH',
    `Tensor ${index} of the payload contradicts the measure given with it: measure the payload again.`,
    { index },
  );
}

function checkLength(tensor: TernaryTensor, state: Float64Array): void {
  if (tensor.elements !== state.length) {
    throw new KinshipError(
      'TABLE_MISMATCH',
      `Tensor ${tensor.index} has ${tensor.elements} elements, the kinship state ${state.length}: use payloads of one charter.`,
      { index: tensor.index, elements: [tensor.elements, state.length] },
    );
  }
}

function addMasked(state: Float64Array, mask: Uint32Array, value: number): void {
  for (let word = 0; word < mask.length; word++) {
    for (let bits = mask[word]!; bits !== 0; bits &= bits - 1) {
      const entry = word * 32 + 31 - Math.clz32(bits & -bits);
      state[entry] = state[entry]! + value;
    }
  }
}

/** Σ of the state where the tensor is +, minus Σ where it is -, exactly. */
function signedSum(state: Float64Array, tensor: TernaryTensor): bigint {
  let sum = 0n;
  for (let from = 0; from < tensor.plus.length; from += BLOCK_WORDS) {
    const to = Math.min(from + BLOCK_WORDS, tensor.plus.length);
    sum += maskedSum(state, tensor.plus, from, to) - maskedSum(state, tensor.minus, from, to);
  }
  return sum;
}

/** Splits each entry as high · 2³² + low with 0 ≤ low < 2³², so that both limbs' sums over a block are exact. */
function maskedSum(state: Float64Array, mask: Uint32Array, from: number, to: number): bigint {
  let high = 0;
  let low = 0;
  for (let word = from; word < to; word++) {
    for (let bits = mask[word]!; bits !== 0; bits &= bits - 1) {
      const value = state[word * 32 + 31 - Math.clz32(bits & -bits)]!;
      const limb = Math.floor(value / LIMB);
      high += limb;
      low += value - limb * LIMB;
    }
  }
  return BigInt(high) * BigInt(LIMB) + BigInt(low);
}
