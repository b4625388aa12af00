import type { CID } from 'multiformats/cid';
import { encodeRecipe, idOf } from '../log/index.ts';
import { HistoryError } from './errors.ts';
import type { Snapshot } from './types.ts';

/**
 * A model without one of its updates: a local fork. Decisions on the others stay as they were made.
 *
 * @throws HistoryError `NOT_IN_MODEL`
 */
export function leaveOut(snapshot: Snapshot, update: CID): Snapshot {
  const accepted = snapshot.accepted.filter(({ cid }) => !cid.equals(update));
  if (accepted.length === snapshot.accepted.length) {
    throw new HistoryError('NOT_IN_MODEL', `${update} is no accepted update of this model: see \`kinmerge log\``, {
      update: update.toString(),
    });
  }
  const recipe = { ...snapshot.recipe, updates: accepted.map(({ cid }) => cid) };
  const { frontier, seal } = snapshot;
  return { recipe, recipeId: idOf(encodeRecipe(recipe)), accepted, frontier, seal };
}
