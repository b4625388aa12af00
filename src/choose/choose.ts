import type { RunOptions } from '../run-options.ts';
import { chooseByEvaluation } from './by-evaluation.ts';
import { chooseByReconstruction } from './by-reconstruction.ts';
import { CHOICE_DENSITIES, checkDensities } from './grid.ts';
import type { Choice, ChooseInput } from './types.ts';

/**
 * Chooses density and scale factor for an update, in the default form (one top-k and scale per tensor). With held-out
 * samples the accuracy of base plus update decides, else the share of the task vector that the ternary form keeps.
 *
 * By evaluation, every density is encoded once, into the system's directory for temporary files, and the model of every
 * factor exists in memory only; the time is that of up to 25 evaluations. By reconstruction it is one read of both checkpoints.
 *
 * @throws ChooseError BAD_DENSITIES; EvaluateError and CodecError as `evaluate` and `encodeTaskVector` do;
 *   CheckpointError, SafetensorsError; the signal's reason
 */
export async function chooseSettings(input: ChooseInput, options: RunOptions = {}): Promise<Choice> {
  options.signal?.throwIfAborted();
  const densities = checkDensities(input.densities ?? CHOICE_DENSITIES);
  if (input.evaluation === undefined) return chooseByReconstruction(input, densities, options);
  return chooseByEvaluation(input, input.evaluation, densities, options);
}
