import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { MatrixEngine } from '../../src/compute/index.ts';
import type { Snapshot } from '../../src/history/index.ts';
import type { Charter } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import type { BlobStore } from '../stores/blob-store.ts';
import { foldPayload } from '../work/merge-calls.ts';
import type { Tie } from './ties.ts';

export interface RefoldComponents {
  readonly charter: Charter;
  readonly engine: MatrixEngine;
  readonly files: BlobStore;
  /** A directory for the states; what was in it of an earlier fold is removed. */
  readonly work: string;
  readonly memory: number | undefined;
}

/**
 * Folds all accepted updates, from nothing.
 *
 * @param turned - ties to take the neighbour of
 * @returns the last state, null without any update; and the ties met
 */
export async function refold(
  view: Pick<Snapshot, 'accepted'>,
  turned: readonly Tie[],
  components: RefoldComponents,
  run: RunOptions,
): Promise<{ state: string | null; ties: Tie[] }> {
  const { charter, engine, files, work, memory } = components;
  const ties: Tie[] = [];
  let state: string | null = null;
  for (const [step, update] of view.accepted.entries()) {
    const to = join(work, String(step));
    await rm(to, { recursive: true, force: true });
    const splitRanks = new Map(
      turned.filter((tie) => tie.step === step).map(({ tensor, splitNeighbour }) => [tensor, splitNeighbour]),
    );
    const payload = files.path(update.payload);
    const summary = await foldPayload({ from: state, to, payload, charter, engine, memory, splitRanks }, run);
    for (const { name: tensor, splitRank: taken, splitNeighbour: other } of summary.tensors) {
      if (taken === undefined || other === undefined || other === null) continue;
      const [splitRank, splitNeighbour] = splitRanks.has(tensor) ? [other, taken] : [taken, other];
      ties.push({ step, tensor, splitRank, splitNeighbour, taken });
    }
    if (state !== null) await rm(state, { recursive: true });
    state = to;
    run.onProgress?.({ phase: 'folding again', done: step + 1, total: view.accepted.length, unit: 'updates' });
  }
  return { state, ties };
}
