/** docs/log-format.md: Seal, Epochs. */

import { createPublicKey, verify } from 'node:crypto';
import { type Before, decideSection, decisionByte } from './decisions.ts';
import type { Id, Rec, Seal, SealClaims } from './documents.ts';
import { canonical } from './order.ts';
import { recipeIdOf, recipeList } from './recipe.ts';
import { amended, charterRules, continues, type Rules } from './rules.ts';
import { ancestors, type World } from './world.ts';

/** Where a node stands after the seals that it applied. */
export interface Sealed extends Before {
  readonly rules: Rules;
  /** The applied seals, in order. */
  readonly seals: readonly Id[];
  /** The records of each epoch, in order. */
  readonly epochs: readonly (readonly Id[])[];
}

export function unsealed(world: World): Sealed {
  return { decided: [], out: new Set(), rules: charterRules(world.charter), seals: [], epochs: [] };
}

export function salt(world: World, { seals }: Sealed): Id {
  return seals.at(-1) ?? world.charterId;
}

/** What is held and in no epoch. */
export function tailOf(held: ReadonlyMap<Id, Rec>, { decided }: Before): Map<Id, Rec> {
  const sealed = new Set(decided.map(({ record }) => record.id));
  return new Map([...held].filter(([id]) => !sealed.has(id)));
}

/** What the next seal with this frontier says, and where a node stands after it, but for the seal's id. */
export function closeEpoch(
  world: World,
  held: ReadonlyMap<Id, Rec>,
  before: Sealed,
  frontier: readonly Id[],
): { claims: SealClaims; after: Omit<Sealed, 'seals'> } {
  const inside = new Map<Id, Rec>();
  for (const id of frontier) {
    const record = held.get(id)!;
    for (const [key, value] of [[id, record] as const, ...ancestors({ records: held }, record)!])
      inside.set(key, value);
  }
  const epoch = canonical(tailOf(inside, before), salt(world, before));
  const { decided, out, atOnce } = decideSection(world, before.rules, before, epoch);

  // Revocations of what is in an earlier epoch have their effect at the end.
  const gone = new Set(out);
  const effective = new Set(atOnce);
  for (const record of epoch) {
    if (record.kind !== 'revocation' || epoch.some(({ id }) => id === record.target) || gone.has(record.target))
      continue;
    if (!recipeList({ decided, out: gone }).includes(record.target)) continue;
    gone.add(record.target);
    effective.add(record.id);
  }

  let rules = before.rules;
  const amendments: Id[] = [];
  for (const record of epoch) {
    if (record.kind !== 'amendment' || !continues(rules, record)) continue;
    rules = amended(rules, record);
    amendments.push(record.id);
  }

  const recipe = recipeList({ decided, out: gone });
  return {
    claims: {
      decisions: decided.slice(before.decided.length).map(decisionByte),
      amendments,
      revocations: epoch.map(({ id }) => id).filter((id) => effective.has(id)),
      accepted: recipe.length,
      recipe: recipeIdOf(world.charter, world.charterId, recipe),
    },
    after: { decided, out: gone, rules, epochs: [...before.epochs, epoch.map(({ id }) => id)] },
  };
}

/** Every signature holds, and enough of them are of the sealers. Where there are no sealers, nothing is a seal. */
function isSigned(seal: Seal, { sealers }: Rules): boolean {
  const counted = seal.signatures.filter(({ key }) => sealers.keys.includes(key)).length;
  return sealers.keys.length > 0 && counted >= sealers.threshold && signaturesHold(seal);
}

const verified = new WeakMap<Seal, boolean>();

function signaturesHold(seal: Seal): boolean {
  const known = verified.get(seal);
  if (known !== undefined) return known;
  const message = Buffer.concat([Buffer.from('kinmerge/seal/1\0'), seal.body]);
  const holds = seal.signatures.every(({ key, signature }) => {
    const der = Buffer.from(`302a300506032b6570032100${key}`, 'hex');
    return verify(null, message, createPublicKey({ key: der, format: 'der', type: 'spki' }), signature);
  });
  verified.set(seal, holds);
  return holds;
}

export interface SealTrouble {
  readonly number: number;
  readonly why: 'double' | 'mismatch' | 'waiting';
}

/** Applies the known seals in the order of their numbers, as far as that goes. */
export function applySeals(world: World, held: ReadonlyMap<Id, Rec>): { sealed: Sealed; trouble: SealTrouble | null } {
  let sealed = unsealed(world);
  for (let number = 1; ; number++) {
    const known = world.seals.filter(
      (seal) => seal.charter === world.charterId && seal.number === number && isSigned(seal, sealed.rules),
    );
    const different = new Map(known.map((seal) => [seal.id, seal]));
    if (different.size === 0) return { sealed, trouble: null };
    if (different.size > 1) return { sealed, trouble: { number, why: 'double' } };
    const seal = known[0]!;
    if (seal.previous !== (sealed.seals.at(-1) ?? null)) return { sealed, trouble: { number, why: 'mismatch' } };
    if (!seal.frontier.every((id) => held.has(id))) return { sealed, trouble: { number, why: 'waiting' } };
    const { claims, after } = closeEpoch(world, held, sealed, seal.frontier);
    if (!agree(claims, seal)) return { sealed, trouble: { number, why: 'mismatch' } };
    sealed = { ...after, seals: [...sealed.seals, seal.id] };
  }
}

function agree(a: SealClaims, b: SealClaims): boolean {
  const text = ({ decisions, amendments, revocations, accepted, recipe }: SealClaims): string =>
    JSON.stringify([decisions, amendments, revocations, accepted, recipe]);
  return text(a) === text(b);
}
