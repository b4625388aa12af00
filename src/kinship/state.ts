import { SLICE_ELEMENTS } from '../codec/limits.ts';
import { measureTensor } from '../codec/measure.ts';
import { Pacer } from '../codec/pacer.ts';
import type { PayloadMeasure, TensorMeasure, UpdateTensor } from '../codec/types.ts';
import type { RunOptions } from '../run-options.ts';
import type { UpdateSource } from './counts.ts';
import { KinshipError } from './errors.ts';
import { fixedScale, meanKinship, zeroUpdate } from './fixed.ts';
import { addTo, dotWith } from './state-entries.ts';

/**
 * Most updates in one kinship state. One update adds at most 2³² + 2⁹ to an entry (`fixedScale`), so 2²⁰ of them keep
 * every entry within ±(2⁵² + 2²⁹), where a float64 holds each integer exactly and one more addition stays exact too
 * (docs/algorithms.md D.2).
 */
export const MAX_KINSHIP_UPDATES = 2 ** 20;

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
  add(payload: UpdateSource, measure: PayloadMeasure, options: RunOptions = {}): Promise<void> {
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
  subtract(payload: UpdateSource, measure: PayloadMeasure, options: RunOptions = {}): Promise<void> {
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
  dot(payload: UpdateSource, measure: PayloadMeasure, options: RunOptions = {}): Promise<bigint> {
    return this.#serially(async () => {
      let sum = 0n;
      const pacer = new Pacer(SLICE_ELEMENTS, options.signal);
      for (const expected of measure.tensors) {
        const tensor = await readTensor(payload, expected, options, pacer);
        const state = this.#tensors.get(tensor.index);
        if (state === undefined || expected.squares === 0) continue;
        checkLength(tensor, state);
        sum += BigInt(fixedScale(expected, measure.norm)) * (await dotWith(state, tensor, pacer));
      }
      return sum;
    });
  }

  /** Mean pairwise cosine of an update to those held; null for the zero update or an empty state. Throws as `dot`. */
  async meanCosine(payload: UpdateSource, measure: PayloadMeasure, options: RunOptions = {}): Promise<number | null> {
    const sum = await this.dot(payload, measure, options);
    return measure.norm > 0 ? meanKinship(sum, this.#count) : null;
  }

  async #change(payload: UpdateSource, measure: PayloadMeasure, sign: 1 | -1, options: RunOptions): Promise<void> {
    if (!(measure.norm > 0)) throw zeroUpdate();
    if (payload.sections.length !== measure.tensors.length) throw measureMismatch(measure.tensors[0]?.index ?? 0);
    let done = 0;
    const pacer = new Pacer(SLICE_ELEMENTS, options.signal);
    try {
      for (const expected of measure.tensors) {
        const tensor = await readTensor(payload, expected, options, pacer);
        this.#addTensor(tensor, expected, sign, measure.norm);
        done += 1;
        options.onProgress?.({ phase: 'summing', done, total: measure.tensors.length, unit: 'tensors' });
      }
    } catch (error) {
      await this.#undo(payload, measure, sign, done);
      throw error;
    }
  }

  async #undo(payload: UpdateSource, measure: PayloadMeasure, sign: 1 | -1, done: number): Promise<void> {
    try {
      // Without the caller's signal: the abort may be what brought us here.
      const pacer = new Pacer(SLICE_ELEMENTS, undefined);
      for (const expected of measure.tensors.slice(0, done)) {
        const tensor = await readTensor(payload, expected, {}, pacer);
        this.#addTensor(tensor, expected, sign === 1 ? -1 : 1, measure.norm);
      }
    } catch {
      this.#spoiled = true;
    }
  }

  /** Without a turn of the event loop, so a tensor is added wholly or not at all. */
  #addTensor(tensor: UpdateTensor, expected: TensorMeasure, sign: 1 | -1, norm: number): void {
    // The terms cancel everywhere: there is nothing to add, and the scale need not fit the norm.
    if (expected.squares === 0) return;
    let state = this.#tensors.get(tensor.index);
    if (state === undefined) {
      state = new Float64Array(tensor.elements);
      this.#tensors.set(tensor.index, state);
    }
    checkLength(tensor, state);
    addTo(state, tensor, sign * fixedScale(expected, norm));
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
  payload: UpdateSource,
  expected: TensorMeasure,
  options: RunOptions,
  pacer: Pacer,
): Promise<UpdateTensor> {
  options.signal?.throwIfAborted();
  const tensor = await payload.tensor(expected.index, options.signal ? { signal: options.signal } : {});
  if (tensor === null) throw measureMismatch(expected.index);
  const found = await measureTensor(tensor, pacer);
  const same = (['scale', 'entries', 'sum', 'squares', 'peak'] as const).every((key) => found[key] === expected[key]);
  if (!same) throw measureMismatch(expected.index);
  return tensor;
}

function measureMismatch(index: number): KinshipError {
  return new KinshipError(
    'MEASURE_MISMATCH',
    `Tensor ${index} of the payload contradicts the measure given with it: measure the payload again.`,
    { index },
  );
}

function checkLength(tensor: UpdateTensor, state: Float64Array): void {
  if (tensor.elements !== state.length) {
    throw new KinshipError(
      'TABLE_MISMATCH',
      `Tensor ${tensor.index} has ${tensor.elements} elements, the kinship state ${state.length}: use payloads of one charter.`,
      { index: tensor.index, elements: [tensor.elements, state.length] },
    );
  }
}
