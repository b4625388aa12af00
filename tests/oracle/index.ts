/**
 * The oracle: what docs/log-format.md says that a node decides from what it has. Naive on purpose: it sorts and replays
 * everything from the beginning, keeps nothing, and does not care how long that takes.
 */

import { decideSection, decisionByte } from './decisions.ts';
import type { Id } from './documents.ts';
import { applySeals, type SealTrouble, salt, tailOf } from './epochs.ts';
import { canonical } from './order.ts';
import { recipeIdOf, recipeList } from './recipe.ts';
import type { Rules } from './rules.ts';
import { heldSet } from './validity.ts';
import type { World } from './world.ts';

/** Everything that nodes with the same records, payloads and seals agree on. Plain data, to be compared as a whole. */
export interface Outcome {
  /** Ascending. */
  readonly held: readonly Id[];
  /** Canonical order; the last section is the tail. */
  readonly sections: readonly (readonly Id[])[];
  /** One for each record, in the same order: as in a seal. */
  readonly decisions: readonly number[];
  /** Accepted and taken out, ascending. */
  readonly out: readonly Id[];
  readonly seals: readonly Id[];
  readonly trouble: SealTrouble | null;
  /** In effect for the tail. */
  readonly rules: Rules;
  readonly recipe: readonly Id[];
  readonly recipeId: Id;
  readonly sealedRecipe: readonly Id[];
}

export function consult(world: World): Outcome {
  const held = heldSet(world);
  const { sealed, trouble } = applySeals(world, held);
  const tail = canonical(tailOf(held, sealed), salt(world, sealed));
  const { decided, out } = decideSection(world, sealed.rules, sealed, tail);
  const recipe = recipeList({ decided, out });
  return {
    held: [...held.keys()].sort(),
    sections: [...sealed.epochs, tail.map(({ id }) => id)],
    decisions: decided.map(decisionByte),
    out: [...out].sort(),
    seals: sealed.seals,
    trouble,
    rules: sealed.rules,
    recipe,
    recipeId: recipeIdOf(world.charter, world.charterId, recipe),
    sealedRecipe: recipeList(sealed),
  };
}
