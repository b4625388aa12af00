import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Snapshot } from '../../src/history/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { NodeError } from '../errors.ts';
import type { Community } from './community.ts';
import type { FoldedCheckpoint } from './fold-loop.ts';

/** Folds a model that is not the community's, in a directory of its own that is gone when `use` has ended. */
export async function withFork<T>(
  community: Community,
  fork: Snapshot,
  run: RunOptions,
  use: (checkpoint: FoldedCheckpoint) => Promise<T>,
): Promise<T> {
  const { base, charter, charterId, home } = community.options;
  if (base === null) throw new NodeError('HOME_NOT_JOINED', 'this home has no base to fold onto: join with --base');
  const work = join(home.tmp, `fork-${process.pid}-${performance.now()}`);
  const signal = run.signal === undefined ? community.stopping : AbortSignal.any([community.stopping, run.signal]);
  await mkdir(work, { recursive: true });
  try {
    let state: string | null = null;
    for (const [step, { payload }] of fork.accepted.entries()) {
      const to = join(work, String(step));
      await community.merges.call(
        'fold',
        { from: state, to, payload: community.book.payloads.blobs.path(payload) },
        { signal },
      );
      if (state !== null) await rm(state, { recursive: true });
      state = to;
      run.onProgress?.({ phase: 'folding', done: step + 1, total: fork.accepted.length, unit: 'updates' });
    }
    const recipe = fork.recipeId.toString();
    const path = join(work, 'checkpoint');
    const metadata = { 'kinmerge.community': charterId.toString(), 'kinmerge.recipe': recipe };
    await community.merges.call('export', { state, base, scale: charter.merge.scale, out: path, metadata }, { signal });
    return await use({ recipe, path });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
