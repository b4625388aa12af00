import type { CID } from 'multiformats/cid';
import type { Decision } from '../../src/kinship/index.ts';
import type { Charter, Log, Recipe } from '../../src/log/index.ts';
import { canonicalOrder, encodeRecipe, idOf, MERGE_ALGORITHM } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import type { Judge, JudgedUpdate } from './judge.ts';

/** What follows from one set of held records: the same at every node that holds the same set. */
export interface View {
  /** The canonical order. */
  readonly updates: readonly JudgedUpdate[];
  /** By update id. */
  readonly decisions: ReadonlyMap<string, Decision>;
  /** Accepted updates in canonical order. */
  readonly accepted: readonly JudgedUpdate[];
  /** Updates that no other one of them names as a parent, ascending by bytes: they and their ancestors are all that was decided on. */
  readonly frontier: readonly CID[];
  readonly recipe: Recipe;
  readonly recipeId: CID;
}

/** Orders the held records of a log, decides on each, and makes the recipe. Reads the log once, at the call. */
export async function deriveView(
  options: { charter: Charter; charterId: CID },
  components: { log: Log; judge: Judge },
  run: RunOptions = {},
): Promise<View> {
  const updates = orderedUpdates(components.log, options.charterId);
  const frontier = components.log.heads();
  const decisions = await components.judge.decide(updates, run);
  const accepted = updates.filter((_, place) => decisions[place]!.accepted);
  const recipe: Recipe = {
    version: 1,
    charter: options.charterId,
    algorithm: MERGE_ALGORITHM,
    updates: accepted.map(({ cid }) => cid),
    merge: options.charter.merge,
  };
  return {
    updates,
    decisions: new Map(decisions.map((decision) => [decision.id, decision])),
    accepted,
    frontier,
    recipe,
    recipeId: idOf(encodeRecipe(recipe)),
  };
}

/** The held records in canonical order, as the judge wants them. */
export function orderedUpdates(log: Log, charterId: CID): JudgedUpdate[] {
  return canonicalOrder(log.held(), charterId.bytes).map((cid) => ({
    id: cid.toString(),
    cid,
    payload: log.get(cid)!.record.payload,
    equivocation: log.isEquivocated(cid),
  }));
}
