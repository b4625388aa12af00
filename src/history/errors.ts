import { KinmergeError } from '../errors.ts';

/**
 * - `NOT_IN_MODEL`: an update that is to be left out is not in the model
 */
export type HistoryErrorCode = 'NOT_IN_MODEL';

export class HistoryError extends KinmergeError<HistoryErrorCode> {}
