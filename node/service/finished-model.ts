import type { Snapshot } from '../../src/history/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import type { Community } from '../core/community.ts';
import type { FoldedCheckpoint } from '../core/fold-loop.ts';
import { NodeError } from '../errors.ts';
import type { EventStream } from './event-stream.ts';

/** A finished checkpoint and the model that it is. */
export interface FinishedModel {
  readonly view: Snapshot;
  readonly checkpoint: FoldedCheckpoint;
  readonly provisional: boolean;
}

/**
 * The checkpoint of the sealed recipe, or with `tail` of the current one, waiting for the fold when it lags.
 *
 * @throws NodeError `FOLD_FAILED`, `DAEMON_UNREACHABLE` when the node stops
 */
export async function finishedModel(
  { community, events }: { community: Community; events: EventStream },
  tail: boolean,
  { signal, onProgress }: RunOptions,
): Promise<FinishedModel> {
  const over = new AbortController();
  const signals = [over.signal, community.stopping, ...(signal === undefined ? [] : [signal])];
  const heard = events.subscribe(AbortSignal.any(signals));
  try {
    const current = await upToDate(community, tail);
    if (current !== undefined) return current;
    for await (const event of heard) {
      if (event.type === 'fold') {
        onProgress?.({ phase: 'folding', done: event.updates, total: event.target, unit: 'updates' });
      }
      if (event.type === 'problem') throw new NodeError('FOLD_FAILED', event.message, { reason: event.code });
      const now = await upToDate(community, tail);
      if (now !== undefined) return now;
    }
    signal?.throwIfAborted();
    throw new NodeError('DAEMON_UNREACHABLE', 'the node is shutting down');
  } finally {
    over.abort();
  }
}

/** The checkpoint on disk, if it is that of the recipe asked for. */
async function upToDate(community: Community, tail: boolean): Promise<FinishedModel | undefined> {
  const view = await community.settled();
  const model = tail ? view : (view.sealed ?? view);
  const checkpoint = community.finished(model.recipeId);
  return checkpoint && { view: model, checkpoint, provisional: model === view };
}
