import type { CID } from 'multiformats/cid';
import type { Decision } from '../kinship/index.ts';
import type { Recipe, Rules, SignedRecord, SignedSeal } from '../log/index.ts';
import type { JudgedUpdate } from './steps.ts';

/** What ended an epoch. */
export interface AppliedSeal {
  readonly number: number;
  readonly id: CID;
  /** Records up to the end of its epoch, from the beginning. */
  readonly records: number;
  /** False while its decisions were taken from the sealers and not recomputed. */
  readonly replayed: boolean;
}

/** Why seals are not applied any further. Both ask for a human: a sealer's key is misused, or programs disagree. */
export type SealAlarm =
  /** Two signed seals with one number. */
  | { readonly code: 'SEAL_CONFLICT'; readonly number: number; readonly seals: readonly string[] }
  /** A seal does not say what follows from the records. */
  | {
      readonly code: 'SEAL_MISMATCH';
      readonly number: number;
      readonly seal: string;
      readonly differs: readonly string[];
    };

/** A model of the community: what it is made of, and what was decided on for it. */
export interface Snapshot {
  readonly recipe: Recipe;
  readonly recipeId: CID;
  /** What is accepted and not taken out, in canonical order. */
  readonly accepted: readonly JudgedUpdate[];
  /** Records without children among those that were decided on, ascending by bytes: they and their ancestors are all of them. */
  readonly frontier: readonly CID[];
  /** The last seal that is applied in it. */
  readonly seal: { readonly number: number; readonly id: CID } | null;
}

/** What follows from a set of held records and a set of seals: the same at every node that holds the same. */
export interface History extends Snapshot {
  /** All held records in canonical order: what is sealed, then the tail. */
  readonly records: readonly SignedRecord[];
  /** The updates among them. */
  readonly updates: readonly JudgedUpdate[];
  /** By update id. */
  readonly decisions: ReadonlyMap<string, Decision>;
  /** Updates that a revocation took out. */
  readonly takenOut: ReadonlySet<string>;
  /** What is sealed of it; null while nothing is. */
  readonly sealed: Snapshot | null;
  /** In ascending order. */
  readonly seals: readonly AppliedSeal[];
  /** In effect for the tail. */
  readonly rules: Rules;
  readonly alarm: SealAlarm | null;
  /** The next seal, whose records are not all held yet. */
  readonly waiting: SignedSeal | null;
}
