/**
 * Density and scale of an update: what they are by default, and how they are chosen for one fine-tune.
 *
 * - `settings.ts`: the defaults; `grid.ts`: what is tried
 * - `encode-finetune.ts`: `encodeFinetune`, from paths and choices to a payload file
 * - `choose.ts`: `chooseSettings`; `types.ts`: what goes in and comes out
 * - `by-evaluation.ts`, `one-error.ts`, `unit-payload.ts`, `virtual.ts`: by accuracy on held-out samples
 * - `by-reconstruction.ts`, `energy.ts`: by what the update keeps of the task vector
 */
export { FRUITLESS_DENSITIES } from './by-evaluation.ts';
export { ENOUGH_ENERGY } from './by-reconstruction.ts';
export { chooseSettings } from './choose.ts';
export { type EncodedFinetune, type EvaluationPaths, encodeFinetune, type FinetuneInput } from './encode-finetune.ts';
export { ChooseError, type ChooseErrorCode } from './errors.ts';
export { CHOICE_DENSITIES, FACTOR_STEPS, MAX_CHOICE_DENSITIES } from './grid.ts';
export {
  DEFAULT_DENSITY,
  DEFAULT_DEVIATION_FACTOR,
  defaultScaleFactor,
  defaultSettings,
  type EncoderChoice,
  settingsOf,
} from './settings.ts';
export type { Choice, ChooseInput, EvaluatedSetting, ReconstructedDensity } from './types.ts';
export { type Addition, type BaseTensors, virtualWeights } from './virtual.ts';
