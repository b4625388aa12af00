import { KinmergeError } from '../errors.ts';

export type KinshipErrorCode =
  /** Two payloads, or two task vectors, do not cover the same tensor table. */
  | 'TABLE_MISMATCH'
  /** Pair counts that cannot belong to the two measures given with them. */
  | 'COUNTS_MISMATCH'
  /** A payload's tensors contradict the measure given with them. */
  | 'MEASURE_MISMATCH'
  /** A zero update has no direction, so it cannot enter the kinship state or a pair. */
  | 'ZERO_UPDATE'
  /** The kinship state already holds `MAX_KINSHIP_UPDATES` updates. */
  | 'TOO_MANY_UPDATES'
  /** An update was to be subtracted from an empty kinship state. */
  | 'STATE_EMPTY'
  /** An interrupted change of the kinship state could not be undone: rebuild the state from the accepted updates. */
  | 'STATE_SPOILED'
  /** A task vector holds a NaN or an infinity. */
  | 'NOT_FINITE'
  /** A policy is not an object with exactly the fields of `AdmissionPolicy`. */
  | 'POLICY_FIELDS'
  /** A field of a policy is not a finite number, or not a pair of them. */
  | 'POLICY_NOT_FINITE'
  /** A field of a policy lies outside its range. */
  | 'POLICY_RANGE'
  /** Two limits of a policy are in the wrong order. */
  | 'POLICY_ORDER'
  /** A base whose norm is zero or not finite gives no absolute limits. */
  | 'BASE_UNUSABLE'
  /** One update was given to admission twice. */
  | 'REPEATED_CANDIDATE';

/** Thrown by everything in this folder. */
export class KinshipError extends KinmergeError<KinshipErrorCode> {}
