/**
 * The merged model's tensors: W = base + scale * S / lambda (docs/algorithms.md, C.2). Export and verification share
 * this, so that on one machine they mean the same bytes.
 */
import type { RunOptions } from '../run-options.ts';
import { type Checkpoint, isFloat, type TensorInfo } from '../tensors/index.ts';
import { MergeError } from './errors.ts';
import type { MergeState } from './state.ts';

/** What is written beside the base: a source of merged deltas, tensor by tensor. */
export interface MergedDeltas {
  /** Names and shapes that have a delta; every other tensor is the base's. */
  readonly tensors: readonly { readonly name: string; readonly shape: readonly number[] }[];
  /** The factor on what `read` gives, e.g. scale / lambda. */
  readonly factor: number;
  /** Fills `out` with the tensor at an index, before the factor. */
  read(index: number, out: Float32Array, options?: RunOptions): Promise<void>;
}

/** @throws MergeError `BAD_INPUT` for a scale that is not finite or makes the factor infinite */
export function deltasOf(state: MergeState, scale: number): MergedDeltas {
  checkScale(scale);
  const factor = scale / state.lambda;
  if (!Number.isFinite(factor)) {
    throw new MergeError('BAD_INPUT', `The scale ${scale} is too large for lambda ${state.lambda}.`, { scale });
  }
  return { tensors: state.tensors, factor, read: (index, out, options) => state.read(index, out, options) };
}

/** @throws MergeError `BAD_INPUT` */
export function checkScale(scale: number): void {
  if (Number.isFinite(scale)) return;
  throw new MergeError('BAD_INPUT', 'The scale must be a finite number.', { scale });
}

/**
 * The position of each name among the deltas.
 *
 * @throws MergeError `BASE_MISMATCH` when the base lacks one, or has it in another shape or not as floating point
 */
export function indexDeltas(deltas: MergedDeltas, base: Checkpoint): ReadonlyMap<string, number> {
  deltas.tensors.forEach(({ name, shape }) => {
    const found = base.tensors.get(name);
    if (found !== undefined && isFloat(found.dtype) && found.shape.join() === shape.join()) return;
    throw new MergeError(
      'BASE_MISMATCH',
      `The base in ${base.path} does not have '${name}' as a float tensor of shape [${shape.join()}]. ` +
        'Use the base that the updates were made from.',
      { tensor: name, shape, found: found === undefined ? null : { dtype: found.dtype, shape: found.shape } },
    );
  });
  return new Map(deltas.tensors.map(({ name }, index) => [name, index]));
}

/** A float tensor's base values and merged delta, both whole in memory. */
export interface MergedTensor {
  readonly base: Float32Array;
  /** Before the factor. */
  readonly delta: Float32Array;
}

export async function readMerged(
  info: TensorInfo,
  base: Checkpoint,
  deltas: MergedDeltas,
  index: number,
  options: RunOptions,
): Promise<MergedTensor> {
  const delta = new Float32Array(info.elements);
  await deltas.read(index, delta, options);
  return { base: await base.readFloat32(info.name, options), delta };
}

/**
 * Merged weights in float32, rounded once: fround(base + factor * delta) with a float64 product and sum.
 *
 * @param into - receives the weights; may be `delta`
 */
export function mergeInto(base: Float32Array, delta: Float32Array, factor: number, into: Float32Array): void {
  for (let i = 0; i < base.length; i++) into[i] = base[i]! + factor * delta[i]!;
}
