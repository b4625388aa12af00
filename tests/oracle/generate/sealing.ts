/** Seals of what one writer has read: good ones by the oracle's own computation, and bad ones. */

import type { Id } from '../documents.ts';
import { applySeals, closeEpoch, type Sealed, tailOf } from '../epochs.ts';
import { heldSet } from '../validity.ts';
import type { World } from '../world.ts';
import type { Cast } from './community.ts';
import type { Dice } from './dice.ts';
import { keyText, type MadeSeal, makeSeal } from './signing.ts';

export interface SealingOptions {
  readonly world: World;
  /** The sealers misbehave now and then. */
  readonly bad: boolean;
}

/** The next seal, none where nothing is to be sealed, or two with one number. */
export function drawSeals(dice: Dice, cast: Cast, { world, bad }: SealingOptions): MadeSeal[] {
  const held = heldSet(world);
  const { sealed, trouble } = applySeals(world, held);
  const tail = [...tailOf(held, sealed).values()];
  if (tail.length === 0 || (trouble !== null && !(bad && dice.chance(0.15)))) return [];
  const seals = [drawSeal(dice, cast, { world, bad }, sealed, drawFrontier(dice, tail))];
  if (bad && dice.chance(0.3)) seals.push(drawSeal(dice, cast, { world, bad }, sealed, [dice.pick(tail).id]));
  return seals;
}

function drawFrontier(dice: Dice, tail: readonly { readonly id: Id; readonly parents: readonly Id[] }[]): Id[] {
  const named = new Set(tail.flatMap(({ parents }) => parents));
  const all = tail.map(({ id }) => id);
  const heads = all.filter((id) => !named.has(id));
  switch (dice.weighted({ heads: 45, some: 30, any: 25 })) {
    case 'heads':
      return heads;
    case 'some':
      return dice.some(heads);
    case 'any':
      return dice.some(all).slice(0, 4);
  }
}

function drawSeal(
  dice: Dice,
  cast: Cast,
  { world, bad }: SealingOptions,
  before: Sealed,
  frontier: readonly Id[],
): MadeSeal {
  const fault = bad && dice.chance(0.5) ? dice.pick(['decision', 'accepted', 'previous', 'signer'] as const) : null;
  const { keys, threshold } = before.rules.sealers;
  const effective = cast.sealers.filter((key) => keys.includes(keyText(key)));
  const signers = fault === 'signer' ? [cast.stranger] : effective.slice(0, Math.max(1, threshold));
  // Without sealers somebody tries anyway.
  if (signers.length === 0) signers.push(dice.pick(cast.sealers));
  const { claims } = closeEpoch(world, heldSet(world), before, frontier);
  const previous = before.seals.at(-1) ?? null;
  return makeSeal(
    signers,
    {
      charter: cast.charterId,
      number: before.seals.length + 1,
      previous: fault === 'previous' && previous !== null ? frontier[0]! : previous,
      frontier,
    },
    {
      ...claims,
      decisions: claims.decisions.map((byte, at) => (fault === 'decision' && at === 0 ? (byte + 1) % 9 : byte)),
      accepted: fault === 'accepted' ? claims.accepted + 1 : claims.accepted,
    },
  );
}
