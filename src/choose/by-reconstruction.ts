/** Choice without data: by how much of the task vector the update keeps. */
import { checkPayload } from '../codec/index.ts';
import type { RunOptions } from '../run-options.ts';
import { modelEnergies } from './energy.ts';
import { defaultScaleFactor, defaultSettings } from './settings.ts';
import type { Choice, ChooseInput } from './types.ts';
import { withUnitPayload } from './unit-payload.ts';

/**
 * Share of the best density's energy that is enough. A Gaussian vector keeps 0.43, 0.62 and 0.81 of its energy at 10, 20
 * and 50 %, so that anything between 0.53 and 0.76 gives 20 %, where experts were measured to lose nothing; heavier
 * tails, which fewer entries describe, get 10 % or less.
 */
export const ENOUGH_ENERGY = 0.7;

const RULE = `The smallest density at which the update keeps at least ${ENOUGH_ENERGY} of the energy that the best density keeps, with the default factor.`;

/**
 * The error decides the density alone. The scale that minimises it is too small: it shortens the update to the share of
 * the original that it keeps, and accuracy wants its whole length (docs/vision8.md).
 */
export async function chooseByReconstruction(
  input: ChooseInput,
  densities: readonly number[],
  options: RunOptions,
): Promise<Choice> {
  const { finetune } = input;
  const energies =
    'lowRank' in finetune
      ? await adapterEnergies(input, densities, options)
      : await modelEnergies({ ...input, finetune }, densities, options);
  const best = Math.max(...energies);
  const table = densities.map((density, i) => {
    // A vector of zeros loses nothing anywhere.
    const energy = best === 0 ? 1 : energies[i]! / best;
    return { density, scaleFactor: defaultScaleFactor(density), energy, good: energy >= ENOUGH_ENERGY };
  });
  const { density } = table.find((row) => row.good)!;
  return { by: 'reconstruction', settings: defaultSettings(density), rule: RULE, table };
}

/**
 * An adapter is small, so it is simply encoded at every density. At the least-squares scale what is kept of an update
 * and its error are at right angles, so the payload's own sum of squares is the energy.
 */
async function adapterEnergies(
  input: ChooseInput,
  densities: readonly number[],
  options: RunOptions,
): Promise<number[]> {
  const energies: number[] = [];
  for (const density of densities) {
    const { norm } = await withUnitPayload(input, density, options, (_, path) =>
      checkPayload(path, input.table, options),
    );
    energies.push(norm ** 2);
  }
  return energies;
}
