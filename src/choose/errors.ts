import { KinmergeError } from '../errors.ts';

/**
 * Why no settings could be chosen.
 *
 * - `BAD_DENSITIES`: the densities to try are not a short list of different shares
 * - `BAD_CHOICE`: what was chosen by hand and what is to be chosen automatically contradict each other
 */
export type ChooseErrorCode = 'BAD_DENSITIES' | 'BAD_CHOICE';

export class ChooseError extends KinmergeError<ChooseErrorCode> {}
