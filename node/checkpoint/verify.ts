import { randomInt } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { CID } from 'multiformats/cid';
import type { Device } from '../../src/compute/index.ts';
import { createEngine } from '../../src/compute/index.ts';
import { charterId, decodeCharter, Log } from '../../src/log/index.ts';
import type { VerifyReport } from '../../src/merge/index.ts';
import { verifyMerged } from '../../src/merge/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { openCheckpoint } from '../../src/tensors/index.ts';
import { siblingModule } from '../../src/worker-url.ts';
import { checkBase } from '../base.ts';
import { Judge } from '../core/judge.ts';
import { RecordBook } from '../core/record-book.ts';
import type { View } from '../core/view.ts';
import { deriveView } from '../core/view.ts';
import { NodeError } from '../errors.ts';
import type { HomePaths } from '../home/paths.ts';
import type { Logger } from '../logger.ts';
import { foldPayload } from '../work/merge-calls.ts';
import type { PayloadCalls } from '../work/payload-calls.ts';
import { WorkerThread } from '../work/rpc.ts';
import { readSidecar } from './sidecar.ts';

export interface VerifyOptions {
  readonly directory: string;
  readonly base: string;
  /** Compare this many tensors, drawn at random; all when left out. */
  readonly tensors: number | undefined;
  readonly exact: boolean;
  readonly device: Device;
}

export interface Verification {
  readonly recipe: string;
  readonly updates: number;
  readonly report: VerifyReport;
}

/**
 * Recomputes a checkpoint from the log of this home, decisions included, and compares.
 *
 * @throws NodeError `VERIFY_FAILED` or `RECIPE_MISMATCH` when the recipe is not what the log says, `BASE_MISMATCH`;
 *   `UPDATE_UNKNOWN` when the home lacks updates. Weights that differ give a report, not an error.
 */
export async function verifyCheckpoint(
  options: VerifyOptions,
  components: { home: HomePaths; logger: Logger },
  run: RunOptions = {},
): Promise<Verification> {
  const { home } = components;
  const sidecar = await readSidecar(options.directory);
  const charterBytes = await readCharter(home);
  const id = charterId(charterBytes);
  if (id.toString() !== sidecar.recipe.charter.toString()) {
    throw new NodeError(
      'VERIFY_FAILED',
      `the checkpoint is of community ${sidecar.recipe.charter}, this home of ${id}`,
      {
        checkpoint: sidecar.recipe.charter.toString(),
        home: id.toString(),
      },
    );
  }
  const charter = decodeCharter(charterBytes);
  const directory = await openCheckpoint(options.directory, run);
  const base = await openCheckpoint(options.base, run);
  const payloads = new WorkerThread<PayloadCalls>(siblingModule(import.meta.url, '../work/payload-worker'), {
    charter: home.charter,
  });
  await mkdir(home.root, { recursive: true });
  const work = await mkdtemp(join(home.root, 'verify-'));
  const engine = await createEngine({ device: options.device });
  try {
    await checkBase(charter, options.base, run);
    const book = new RecordBook(
      { home, charter, charterId: id },
      { logger: components.logger, listener: { onHeld: () => {}, onMissing: () => {}, onEquivocations: () => {} } },
    );
    await book.load();
    const log = closure(book, sidecar.frontier, id);
    const judge = new Judge({ policy: charter.admission }, { worker: payloads, files: book.blobs });
    const view = await deriveView({ charter, charterId: id }, { log, judge }, run);
    checkRecipe(view, sidecar.recipeId);
    const named = directory.metadata.get('kinmerge.recipe');
    if (named !== view.recipeId.toString()) {
      throw new NodeError(
        'VERIFY_FAILED',
        `the weights say recipe ${named ?? 'nothing'}, the checkpoint ${view.recipeId}`,
        {
          weights: named ?? null,
        },
      );
    }
    let state: string | null = null;
    for (const [place, update] of view.accepted.entries()) {
      const to = join(work, String(place));
      await foldPayload({ from: state, to, payload: book.blobs.path(update.payload), charter, engine }, run);
      if (state !== null) await rm(state, { recursive: true });
      state = to;
      run.onProgress?.({ phase: 'folding again', done: place + 1, total: view.accepted.length, unit: 'updates' });
    }
    const names = options.tensors === undefined ? undefined : draw([...base.tensors.keys()], options.tensors);
    const report = await verifyMerged(
      { directory, base, state, scale: charter.merge.scale, exact: options.exact, ...(names && { tensors: names }) },
      run,
    );
    return { recipe: view.recipeId.toString(), updates: view.accepted.length, report };
  } finally {
    await Promise.all([engine.close(), payloads.close(), directory.close(), base.close()]);
    await rm(work, { recursive: true, force: true });
  }
}

/** A log of exactly the records that the checkpoint was decided on. */
function closure(book: RecordBook, frontier: readonly CID[], id: CID): Log {
  const missing = frontier.filter((head) => book.log.get(head) === undefined).map(String);
  if (missing.length > 0) {
    throw new NodeError(
      'UPDATE_UNKNOWN',
      `this home lacks ${missing.length} of the updates that the checkpoint was decided on: pull with this --home first`,
      { missing },
    );
  }
  const log = new Log({ charter: book.log.charter, charterId: id });
  for (const signed of book.log.ancestors(frontier)) {
    log.setPayload(signed.record.payload, book.log.payloadSize(signed.record.payload)!);
    log.addRecord(signed);
  }
  return log;
}

function checkRecipe(view: View, claimed: CID): void {
  if (view.recipeId.toString() === claimed.toString()) return;
  throw new NodeError(
    'RECIPE_MISMATCH',
    `the checkpoint claims recipe ${claimed}, but these updates make ${view.recipeId}: it was not merged by the charter's rules`,
    { claimed: claimed.toString(), derived: view.recipeId.toString() },
  );
}

async function readCharter(home: HomePaths): Promise<Uint8Array> {
  try {
    return await readFile(home.charter);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new NodeError(
      'HOME_NOT_JOINED',
      "verify needs a home that holds the community's updates: the one that pulled this checkpoint, or a node's",
      { home: home.root },
    );
  }
}

function draw(names: string[], count: number): string[] {
  const drawn: string[] = [];
  while (drawn.length < count && names.length > 0) drawn.push(...names.splice(randomInt(names.length), 1));
  return drawn;
}
