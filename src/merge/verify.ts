/**
 * Checks a merged checkpoint against the merge recomputed from its recipe.
 *
 * Backends differ in rounding, so weights are compared with tolerances. What they leave room for, a tamperer has too:
 * a passed verification says that the model is within them, and only `exact` says that it is the same.
 */
import type { RunOptions } from '../run-options.ts';
import { type Checkpoint, compareNames, type TensorInfo } from '../tensors/index.ts';
import { MergeError } from './errors.ts';
import { narrowFinite } from './export.ts';
import { checkScale, deltasOf, indexDeltas, type MergedDeltas, mergeInto, readMerged } from './merged.ts';
import { openState } from './state.ts';
import {
  compareMerged,
  LAMBDA_TOLERANCE,
  type LambdaEstimate,
  lambdasAgree,
  type TensorComparison,
} from './verify-tensor.ts';

export interface VerifyInput {
  /** The checkpoint in question. */
  readonly directory: Checkpoint;
  readonly base: Checkpoint;
  /** The state directory recomputed from the recipe; null when the recipe has no update. */
  readonly state: string | null;
  readonly scale: number;
  /** The lambda that the checkpoint claims to have, if it does: it must agree with the recomputed one. */
  readonly lambda?: number;
  /** Check the values of these tensors only. Names, shapes and dtypes are always checked for all. */
  readonly tensors?: readonly string[];
  /** Ask for the same bytes in every tensor: holds between equal machines with the same backend. */
  readonly exact?: boolean;
}

export type TensorFault =
  | 'missing'
  | 'unexpected'
  | 'shape'
  | 'dtype'
  | 'bytes'
  | 'non-finite'
  | 'relative difference'
  | 'single entry'
  | 'lambda';

export interface TensorVerdict {
  readonly name: string;
  readonly verdict: 'pass' | 'fail';
  /** What failed, in the order found; empty when passed. */
  readonly faults: readonly TensorFault[];
  /** Measured values of a float tensor with a merged task vector. */
  readonly comparison?: TensorComparison;
}

export interface VerifyReport {
  readonly verdict: 'pass' | 'fail';
  /** As recomputed; 1 without a state. */
  readonly lambda: number;
  /** The claimed lambda, its verdict, or null when none was claimed. */
  readonly claimedLambda: { readonly value: number; readonly verdict: 'pass' | 'fail' } | null;
  /** Smallest and largest lambda implied by the checked tensors, and whether they agree; null when none implies one. */
  readonly impliedLambda: { readonly min: number; readonly max: number; readonly verdict: 'pass' | 'fail' } | null;
  /** Tensors whose values were compared, and all there are. */
  readonly checked: number;
  readonly total: number;
  readonly exact: boolean;
  /** Checked tensors and those with a fault, in code-point order. */
  readonly tensors: readonly TensorVerdict[];
}

/**
 * Compares tensor by tensor; memory follows the largest. A checkpoint that differs gives a report, not an error.
 *
 * @throws MergeError `BAD_INPUT` (scale, or a name in `tensors` that the base does not have), `BASE_MISMATCH`,
 *   `STATE_*`; SafetensorsError or CheckpointError when files cannot be read
 */
export async function verifyMerged(input: VerifyInput, options: RunOptions = {}): Promise<VerifyReport> {
  checkScale(input.scale);
  const state = input.state === null ? null : await openState(input.state, options);
  try {
    const lambda = state?.lambda ?? 1;
    const deltas =
      state === null ? { tensors: [], factor: 0, read: async () => undefined } : deltasOf(state, input.scale);
    const { verdicts, checked } = await verifyTensors(input, deltas, lambda, options);
    const claimed = claimedLambda(input.lambda, lambda);
    const implied = impliedLambda(verdicts);
    const failed = verdicts.some(({ verdict }) => verdict === 'fail');
    const pass = !failed && claimed?.verdict !== 'fail' && implied?.verdict !== 'fail';
    return {
      verdict: pass ? 'pass' : 'fail',
      lambda,
      claimedLambda: claimed,
      impliedLambda: implied,
      checked,
      total: input.base.tensors.size,
      exact: input.exact === true,
      tensors: verdicts,
    };
  } finally {
    await state?.close();
  }
}

async function verifyTensors(
  input: VerifyInput,
  deltas: MergedDeltas,
  lambda: number,
  options: RunOptions,
): Promise<{ verdicts: TensorVerdict[]; checked: number }> {
  const { base, directory } = input;
  const positions = indexDeltas(deltas, base);
  const selected = selectedNames(input);
  const verdicts: TensorVerdict[] = [];
  let checked = 0;
  for (const info of base.tensors.values()) {
    options.signal?.throwIfAborted();
    const found = directory.tensors.get(info.name);
    const faults = structureFaults(info, found);
    if (faults.length > 0) {
      verdicts.push(verdictOf(info.name, faults));
      continue;
    }
    if (!selected.has(info.name)) continue;
    verdicts.push(await verifyTensor(info, positions.get(info.name), input, deltas, lambda, options));
    checked++;
    options.onProgress?.({ phase: 'verifying', done: checked, total: selected.size, unit: 'tensors' });
  }
  for (const name of directory.tensors.keys()) {
    if (!base.tensors.has(name)) verdicts.push(verdictOf(name, ['unexpected']));
  }
  verdicts.sort((a, b) => compareNames(a.name, b.name));
  return { verdicts, checked };
}

async function verifyTensor(
  info: TensorInfo,
  index: number | undefined,
  input: VerifyInput,
  deltas: MergedDeltas,
  lambda: number,
  options: RunOptions,
): Promise<TensorVerdict> {
  const { base, directory } = input;
  // What the merge does not change is copied, so nothing but the same bytes is right.
  if (index === undefined) {
    const same = await sameChunks(base, directory, info.name, options);
    return verdictOf(info.name, same ? [] : ['bytes']);
  }
  const merged = await readMerged(info, base, deltas, index, options);
  const found = await directory.readFloat32(info.name, options);
  const comparison = compareMerged({ ...merged, found, dtype: info.dtype, factor: deltas.factor, lambda });
  const faults: TensorFault[] = [];
  if (comparison === null) return verdictOf(info.name, ['non-finite']);
  if (comparison.difference > comparison.differenceLimit) faults.push('relative difference');
  if (comparison.entryExcess > 0) faults.push('single entry');
  if (comparison.lambda !== null && !comparison.lambda.agrees) faults.push('lambda');
  if (input.exact === true) {
    mergeInto(merged.base, merged.delta, deltas.factor, merged.delta);
    const expected = narrowFinite(merged.delta, info);
    if (Buffer.compare(expected, await directory.readRaw(info.name, options)) !== 0) faults.push('bytes');
  }
  return verdictOf(info.name, faults, comparison);
}

function verdictOf(name: string, faults: readonly TensorFault[], comparison?: TensorComparison): TensorVerdict {
  const verdict = faults.length === 0 ? 'pass' : 'fail';
  return { name, verdict, faults, ...(comparison === undefined ? {} : { comparison }) };
}

function structureFaults(expected: TensorInfo, found: TensorInfo | undefined): TensorFault[] {
  if (found === undefined) return ['missing'];
  if (found.shape.join() !== expected.shape.join()) return ['shape'];
  return found.dtype === expected.dtype ? [] : ['dtype'];
}

function selectedNames({ base, tensors }: VerifyInput): ReadonlySet<string> {
  for (const name of tensors ?? []) {
    if (!base.tensors.has(name)) {
      throw new MergeError('BAD_INPUT', `The base has no tensor '${name}' to verify.`, { tensor: name });
    }
  }
  return new Set(tensors ?? base.tensors.keys());
}

async function sameChunks(a: Checkpoint, b: Checkpoint, name: string, options: RunOptions): Promise<boolean> {
  const others = b.chunks(name, options)[Symbol.asyncIterator]();
  for await (const chunk of a.chunks(name, options)) {
    const other = await others.next();
    if (other.done === true || Buffer.compare(chunk, other.value) !== 0) return false;
  }
  return (await others.next()).done === true;
}

function claimedLambda(value: number | undefined, lambda: number): VerifyReport['claimedLambda'] {
  if (value === undefined) return null;
  const agrees = Math.abs(value / lambda - 1) <= LAMBDA_TOLERANCE;
  return { value, verdict: agrees ? 'pass' : 'fail' };
}

function impliedLambda(verdicts: readonly TensorVerdict[]): VerifyReport['impliedLambda'] {
  const estimates = verdicts.flatMap(({ comparison }): LambdaEstimate[] =>
    comparison?.lambda === null || comparison?.lambda === undefined ? [] : [comparison.lambda],
  );
  if (estimates.length === 0) return null;
  const values = estimates.map(({ value }) => value);
  return {
    min: Math.min(...values),
    max: Math.max(...values),
    verdict: lambdasAgree(estimates) ? 'pass' : 'fail',
  };
}
