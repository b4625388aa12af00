import { randomInt } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { CID } from 'multiformats/cid';
import { createEngine } from '../../src/compute/index.ts';
import { removeTempSiblings, tempSibling } from '../../src/durable.ts';
import { leaveOut, type Snapshot } from '../../src/history/index.ts';
import { charterId, decodeCharter } from '../../src/log/index.ts';
import type { MergeEngineOptions, VerifyReport } from '../../src/merge/index.ts';
import { verifyMerged } from '../../src/merge/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import type { Checkpoint } from '../../src/tensors/index.ts';
import { openCheckpoint } from '../../src/tensors/index.ts';
import { siblingModule } from '../../src/worker-url.ts';
import { checkBase } from '../base.ts';
import { Judge } from '../core/judge.ts';
import type { View } from '../core/view.ts';
import { deriveView } from '../core/view.ts';
import { NodeError } from '../errors.ts';
import type { HomePaths } from '../home/paths.ts';
import { BlobStore } from '../stores/blob-store.ts';
import type { PayloadCalls } from '../work/payload-calls.ts';
import { WorkerThread } from '../work/rpc.ts';
import { countBeyond, readClosure } from './closure.ts';
import { checkDirectory } from './files.ts';
import { refold } from './refold.ts';
import { readSidecar } from './sidecar.ts';
import { settleTies, type Tie } from './ties.ts';

export interface VerifyOptions {
  readonly directory: string;
  readonly base: string;
  /** Compare this many tensors, drawn at random; all when left out. */
  readonly tensors: number | undefined;
  readonly exact: boolean;
  readonly engine: MergeEngineOptions;
}

export interface Verification {
  readonly recipe: string;
  readonly updates: number;
  /** Number of the last seal that is applied in it. */
  readonly seal: number | null;
  /** It is not what that seal makes final. */
  readonly provisional: boolean;
  /** The update that a local fork leaves out. */
  readonly without: string | null;
  /** Updates that this home holds and the checkpoint was not decided on: it is an older recipe when there are any. */
  readonly beyond: number;
  readonly report: VerifyReport;
  /** Where either of two split ranks is right, and which one the checkpoint was compared with. */
  readonly ties: readonly Tie[];
  /** Folds of the recipe beyond the first, to find the sides that the checkpoint took. */
  readonly refolds: number;
}

/**
 * Recomputes a checkpoint from the log of this home, decisions included, and compares. Only reads the home, which a
 * daemon may be using. Where a running share is so near to alpha that rounding decides the split rank, either one is
 * accepted (`settleTies`).
 *
 * @throws NodeError `VERIFY_FAILED` or `RECIPE_MISMATCH` when the recipe is not what the log says or a file beside the
 *   weights is not what the charter says, `BASE_MISMATCH`; `UPDATE_UNKNOWN` when the home lacks updates. Weights that
 *   differ give a report, not an error.
 */
export async function verifyCheckpoint(
  options: VerifyOptions,
  components: { home: HomePaths },
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
  await checkDirectory(options.directory, charter, run);
  const cleanup: (() => Promise<unknown>)[] = [];
  try {
    const directory = await openCheckpoint(options.directory, run);
    cleanup.push(() => directory.close());
    await checkBase(charter, options.base, run);
    const log = await readClosure(home, { charter, charterId: id }, sidecar, run);
    const files = new BlobStore({ directory: home.blobs });
    const payloads = new WorkerThread<PayloadCalls>(siblingModule(import.meta.url, '../work/payload-worker'), {
      charter: home.charter,
    });
    cleanup.push(() => payloads.close());
    const judge = new Judge({ worker: payloads, files });
    const decided = await deriveView({ charter, charterId: id }, { log, judge }, run);
    if (decided.alarm !== null) throw sealRefused(decided.alarm);
    const view = sidecar.without === null ? decided : leaveOut(decided, sidecar.without);
    checkRecipe(view, sidecar.recipeId);
    checkMetadata(directory, view);
    const base = await openCheckpoint(options.base, run);
    cleanup.push(() => base.close());
    const engine = await createEngine(options.engine);
    cleanup.push(() => engine.close());
    const work = await workDirectory(home);
    cleanup.push(() => rm(work, { recursive: true, force: true }));
    const names = options.tensors === undefined ? undefined : draw([...base.tensors.keys()], options.tensors);
    const { scale } = charter.merge;
    const { exact } = options;
    const components = { charter, engine, files, work, memory: options.engine.memory };
    const { report, ties, refolds } = await settleTies(async (turned) => {
      const { state, ties } = await refold(view, turned, components, run);
      return { ties, report: await verifyMerged({ directory, base, state, scale, exact, tensors: names }, run) };
    });
    const beyond = await countBeyond(home, log);
    return {
      recipe: view.recipeId.toString(),
      updates: view.accepted.length,
      seal: decided.seal?.number ?? null,
      provisional: decided.sealed === null || !decided.sealed.recipeId.equals(decided.recipeId),
      without: sidecar.without?.toString() ?? null,
      beyond,
      report,
      ties,
      refolds,
    };
  } finally {
    for (const step of cleanup.reverse()) await step().catch(() => undefined);
  }
}

/** A directory of this process's own in the home; what killed processes left is removed. */
async function workDirectory(home: HomePaths): Promise<string> {
  await removeTempSiblings(home.root);
  const work = tempSibling(join(home.root, 'verify'));
  await mkdir(work);
  return work;
}

function sealRefused(alarm: NonNullable<View['alarm']>): NodeError {
  const text = `seal ${alarm.number}, which the checkpoint was decided by, is not what its records make: it was not merged by the charter's rules`;
  return new NodeError('RECIPE_MISMATCH', text, { alarm });
}

function checkMetadata(directory: Checkpoint, view: Snapshot): void {
  const named = directory.metadata.get('kinmerge.recipe');
  if (named === view.recipeId.toString()) return;
  throw new NodeError(
    'VERIFY_FAILED',
    `the weights say recipe ${named ?? 'nothing'}, the checkpoint ${view.recipeId}`,
    { weights: named ?? null },
  );
}

function checkRecipe(view: Snapshot, claimed: CID): void {
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
