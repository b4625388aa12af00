/** Weight averaging (docs/algorithms.md, E.1): the weighted mean of the task vectors, streaming. */
import * as z from 'zod';
import { MergeError } from './errors.ts';
import { writeMerged } from './export.ts';
import type { MergedDeltas } from './merged.ts';
import type { MergeMethod, MergeTask } from './method.ts';

const parameters = z.strictObject({
  /** Factor on the mean task vector. */
  scale: z.number().default(1),
});

const modelParameters = z.strictObject({
  /** Share of this model; shares are divided by their sum. */
  weight: z.number().nonnegative().default(1),
});

export const average: MergeMethod<typeof parameters, typeof modelParameters> = {
  name: 'average',
  parameters,
  modelParameters,
  async merge(task, { scale }, models, options) {
    const weights = models.map(({ weight }) => weight);
    const written = await writeMerged({ ...task, deltas: meanOf(task, weights, scale) }, options);
    return { lambda: null, norms: null, phases: [], ...written };
  },
};

/** Reads one tensor of every model at a time, and sums in float64. */
export function meanOf(
  { sources, tensors }: Pick<MergeTask, 'sources' | 'tensors'>,
  weights: readonly number[],
  scale: number,
): MergedDeltas {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (!(total > 0 && Number.isFinite(total))) {
    throw new MergeError('BAD_INPUT', 'The weights of the models must have a finite sum above 0.', { weights });
  }
  return {
    tensors,
    factor: scale,
    async read(index, out, options) {
      const sum = new Float64Array(out.length);
      for (const [i, source] of sources.entries()) {
        options?.signal?.throwIfAborted();
        if (!(await source.read(index, out))) continue;
        const weight = weights[i]!;
        for (let j = 0; j < sum.length; j++) sum[j]! += weight * out[j]!;
      }
      for (let j = 0; j < sum.length; j++) out[j] = sum[j]! / total;
    },
  };
}
