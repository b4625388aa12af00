import type { CID } from 'multiformats/cid';
import type { Decision } from '../kinship/index.ts';
import { type Charter, encodeRecipe, idOf, MERGE_ALGORITHM, type Recipe } from '../log/index.ts';
import type { JudgedUpdate, Step, StepResult } from './steps.ts';

/** What is accepted and not taken out after these steps, in their order. */
export function acceptedOf(steps: readonly Step[], results: readonly StepResult[]): JudgedUpdate[] {
  const accepted = new Map<string, JudgedUpdate>();
  for (const [place, step] of steps.entries()) {
    if (step.kind === 'update' && (results[place] as Decision).accepted) accepted.set(step.update.id, step.update);
    else if (step.kind === 'take-out') accepted.delete(step.update);
  }
  return [...accepted.values()];
}

/** The recipe of these updates. */
export function recipeOf(
  { charter, charterId }: { readonly charter: Charter; readonly charterId: CID },
  accepted: readonly JudgedUpdate[],
): { recipe: Recipe; recipeId: CID } {
  const updates = accepted.map(({ cid }) => cid);
  const { merge } = charter;
  const recipe: Recipe = { version: 1, charter: charterId, algorithm: MERGE_ALGORITHM, updates, merge };
  return { recipe, recipeId: idOf(encodeRecipe(recipe)) };
}
