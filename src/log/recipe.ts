import type { CID } from 'multiformats/cid';
import { type DocumentLimits, decodeCanonical, encodeCanonical, idKey, idOf } from './canonical.ts';
import { LogError } from './errors.ts';
import { checkId, Fields } from './fields.ts';
import { checkMergeRule, type MergeRule, readMergeRule } from './merge-rule.ts';

/** Most updates of a recipe: the kinship state is exact up to 2^20. */
export const MAX_RECIPE_UPDATES = 2 ** 20;
/** Most bytes of a recipe: 41 for each update, and the rest. */
export const MAX_RECIPE_BYTES = MAX_RECIPE_UPDATES * 41 + 1024;
/** The merge algorithm of this program: docs/algorithms.md C.2 and C.5. */
export const MERGE_ALGORITHM = 'opcm/1';

const LIMITS: DocumentLimits = {
  what: 'recipe',
  maxBytes: MAX_RECIPE_BYTES,
  maxDepth: 3,
  maxItems: 2 * MAX_RECIPE_UPDATES + 64,
};

/** What a merged model is made of. Its id names the model. */
export interface Recipe {
  readonly version: 1;
  /** The community's first charter. */
  readonly charter: CID;
  readonly algorithm: 'opcm/1';
  /** Record ids of the accepted updates in the order in which they are folded; each once. */
  readonly updates: readonly CID[];
  readonly merge: MergeRule;
}

/** Canonical bytes of a recipe, after checking every field. @throws LogError */
export function encodeRecipe(recipe: Recipe): Uint8Array {
  checkId(recipe.charter, 'recipe.charter');
  checkAlgorithm(recipe.algorithm);
  for (const update of recipe.updates) checkId(update, 'recipe.updates');
  checkUnique(recipe.updates);
  const { method, variant, alpha, scale } = checkMergeRule(recipe.merge, 'recipe.merge');
  return encodeCanonical(
    {
      version: 1,
      charter: recipe.charter,
      algorithm: recipe.algorithm,
      updates: [...recipe.updates],
      merge: { method, variant, alpha, scale },
    },
    LIMITS,
  );
}

/** @throws LogError; `VERSION_UNKNOWN` and `ALGORITHM_UNKNOWN` say that a newer program may know it */
export function decodeRecipe(bytes: Uint8Array): Recipe {
  const fields = new Fields(decodeCanonical(bytes, LIMITS), 'recipe');
  fields.version(1);
  fields.closed(['version', 'charter', 'algorithm', 'updates', 'merge']);
  const recipe: Recipe = {
    version: 1,
    charter: fields.id('charter'),
    algorithm: checkAlgorithm(fields.text('algorithm', { minBytes: 1, maxBytes: 64 })),
    updates: fields.list('updates', 0, MAX_RECIPE_UPDATES).map((update) => checkId(update, 'recipe.updates')),
    merge: readMergeRule(fields.map('merge')),
  };
  checkUnique(recipe.updates);
  return recipe;
}

/** The recipe's id: the id of its canonical bytes. */
export function recipeId(recipe: Recipe): CID {
  return idOf(encodeRecipe(recipe));
}

function checkAlgorithm(algorithm: string): 'opcm/1' {
  if (algorithm !== MERGE_ALGORITHM) {
    throw new LogError('ALGORITHM_UNKNOWN', `this program merges with ${MERGE_ALGORITHM}, not with ${algorithm}`, {
      algorithm,
      known: MERGE_ALGORITHM,
    });
  }
  return algorithm;
}

function checkUnique(updates: readonly CID[]): void {
  const seen = new Set<string>();
  for (const [entry, update] of updates.entries()) {
    const key = idKey(update);
    if (seen.has(key)) {
      throw new LogError('NOT_SORTED', `recipe.updates names ${update} twice`, { field: 'recipe.updates', entry });
    }
    seen.add(key);
  }
}
