/** Payloads as a few signs and a scale: everything that the gates ask of one is exact and cheap. */

import * as dagCbor from '@ipld/dag-cbor';
import { type Id, idOfBytes } from '../documents.ts';
import type { PairFact, PayloadFact } from '../world.ts';
import type { Dice } from './dice.ts';

/** Entries of a payload: the charter's only float tensor is 4 × 4. */
export const ENTRIES = 16;
const KEPT = 8;

export interface Synthetic {
  readonly id: Id;
  readonly bytes: number;
  readonly scale: number;
  /** -1, 0 or 1 each; null when the bytes do not parse. */
  readonly signs: readonly number[] | null;
  /** The real bytes, where there are some. */
  readonly content?: Uint8Array;
}

const isCoded = (sign: number): boolean => sign !== 0;
const codedOf = ({ signs }: Synthetic): number => signs?.filter(isCoded).length ?? 0;
const normOf = (one: Synthetic): number => Math.sqrt(one.scale * one.scale * codedOf(one));

export function factOf(one: Synthetic): PayloadFact {
  const coded = codedOf(one);
  return {
    bytes: one.bytes,
    measure:
      one.signs === null ? null : { norm: normOf(one), peak: coded === 0 ? 0 : one.scale, density: coded / ENTRIES },
  };
}

/** docs/algorithms.md D.2, one tensor. */
export function pairOf(a: Synthetic, b: Synthetic): PairFact {
  const inner = a.signs!.reduce((sum, sign, i) => sum + sign * b.signs![i]!, 0);
  const unit = (one: Synthetic): bigint => BigInt(Math.round((2 ** 32 * one.scale) / normOf(one)));
  return { cosine: inner / Math.sqrt(codedOf(a) * codedOf(b)), fixed: unit(a) * unit(b) * BigInt(inner) };
}

/** The direction that honest updates of a history share. */
export function commonDirection(dice: Dice): number[] {
  return Array.from({ length: ENTRIES }, () => (dice.chance(0.5) ? 1 : -1));
}

const KINDS = { honest: 70, noise: 6, copy: 8, against: 5, loud: 4, dense: 2, zero: 1, broken: 2, large: 2 } as const;

/** A new payload of one of the kinds that the gates tell apart. `count` makes its id. */
export function drawPayload(
  dice: Dice,
  place: { readonly seed: number; readonly count: number },
  common: readonly number[],
  earlier: readonly Synthetic[],
  wanted: keyof typeof KINDS | null = null,
): Synthetic {
  const id = idOfBytes(dagCbor.encode(['payload', place.seed, place.count]));
  const bytes = dice.from(1, 100);
  const scale = dice.pick([1, 1, 1, 1, 1, 1, 0.5, 2]);
  const near = dice.shuffled(common.keys()).slice(0, KEPT);
  const agreement = dice.pick([0.95, 0.85, 0.75, 0.6]);
  const honest = common.map((sign, i) => (near.includes(i) ? (dice.chance(agreement) ? sign : -sign) : 0));
  const model = earlier.filter(({ signs }) => signs !== null);
  const kind = wanted ?? dice.weighted(KINDS);
  switch (kind) {
    case 'honest':
      return { id, bytes, scale, signs: honest };
    case 'noise':
      return { id, bytes, scale, signs: honest.map((sign) => (dice.chance(0.5) ? sign : -sign)) };
    case 'copy':
      return { id, bytes, scale, signs: altered(dice, model.length > 0 ? dice.pick(model).signs! : honest) };
    case 'against':
      return {
        id,
        bytes,
        scale,
        signs: (model.length > 0 ? dice.pick(model).signs! : honest).map((sign) => -sign || 0),
      };
    case 'loud':
      return { id, bytes, scale: dice.pick([4, 16, 64, 0.125]), signs: honest };
    case 'dense':
      return { id, bytes, scale, signs: common };
    case 'zero':
      return { id, bytes, scale, signs: common.map(() => 0) };
    case 'broken':
      return { id, bytes, scale, signs: null };
    case 'large':
      return { id, bytes: dice.pick([0, 500, 5_000]), scale, signs: honest };
  }
}

/** The same, or with one sign turned. */
function altered(dice: Dice, signs: readonly number[]): number[] {
  const at = dice.chance(0.5) ? dice.from(0, signs.length - 1) : -1;
  return signs.map((sign, i) => (i === at ? -sign || 0 : sign));
}
