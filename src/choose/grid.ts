/** Which densities and factors are tried. */
import { ChooseError } from './errors.ts';

/** Densities tried by default: ComPEFT's grid (docs/algorithms.md B.2). */
export const CHOICE_DENSITIES: readonly number[] = [0.05, 0.1, 0.2, 0.3, 0.5];

/** Densities at most: each costs an encoding and up to five evaluations. */
export const MAX_CHOICE_DENSITIES = 16;

/** Factors tried are the default one times these, a step of about sqrt(2): between neighbours the optimum is flat. */
export const FACTOR_STEPS: readonly number[] = [0.5, 0.7, 1, 1.4, 2];

/** The densities in ascending order. @throws ChooseError BAD_DENSITIES */
export function checkDensities(densities: readonly number[]): number[] {
  const bad = densities.find((density) => !(density > 0 && density <= 1));
  const sorted = [...new Set(densities)].sort((a, b) => a - b);
  const count = densities.length;
  let why = '';
  if (bad !== undefined) why = `${bad} is not in (0, 1]`;
  else if (sorted.length < count) why = 'one is named twice';
  else if (count === 0 || count > MAX_CHOICE_DENSITIES) why = `there are ${count}`;
  if (why === '') return sorted;
  const text = `Densities to choose from: ${why}. Give 1 to ${MAX_CHOICE_DENSITIES} different ones, such as 0.05, 0.1, 0.2.`;
  throw new ChooseError('BAD_DENSITIES', text, { densities });
}
