import type { CID } from 'multiformats/cid';
import type { Charter } from '../../src/log/index.ts';
import { encodeRecipe, MERGE_ALGORITHM } from '../../src/log/index.ts';
import type { HomePaths } from '../home/paths.ts';
import { FoldLoop, type FoldTargets } from './fold-loop.ts';
import type { View } from './view.ts';

export interface CommunityFoldOptions {
  readonly home: HomePaths;
  readonly charter: Charter;
  readonly charterId: CID;
  /** Path of the base checkpoint. */
  readonly base: string;
  /** States of the fold to keep; see `FoldLoopOptions`. */
  readonly foldStates?: number | undefined;
}

/** The fold of a community's models in its home. */
export function createFold(
  { home, charter, charterId, base, foldStates }: CommunityFoldOptions,
  components: ConstructorParameters<typeof FoldLoop>[1],
): FoldLoop {
  // The recipe of no updates names the rule: community, algorithm and merge parameters.
  const rule = encodeRecipe({
    version: 1,
    charter: charterId,
    algorithm: MERGE_ALGORITHM,
    updates: [],
    merge: charter.merge,
  });
  return new FoldLoop(
    {
      rule,
      base,
      scale: charter.merge.scale,
      community: charterId.toString(),
      foldDirectory: home.fold,
      checkpointDirectory: home.checkpoints,
      ...(foldStates === undefined ? {} : { states: foldStates }),
    },
    components,
  );
}

/** The models that a view asks for. */
export function foldTargets({ sealed, recipeId, accepted }: View): FoldTargets {
  return {
    sealed: sealed === null ? null : { recipe: sealed.recipeId, updates: sealed.accepted },
    newest: { recipe: recipeId, updates: accepted },
  };
}
