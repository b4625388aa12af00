/**
 * One step of the merge: S <- S + P_S(T), tensor by tensor, from one state directory to another
 * (docs/algorithms.md, C.2).
 */
import { createHash } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type MatrixEngine, Meter, type Phase } from '../compute/index.ts';
import { abandonedSiblings, renameDurably, tempSibling, writeFileDurably } from '../durable.ts';
import type { RunOptions } from '../run-options.ts';
import { type CheckpointWriter, createSafetensors } from '../tensors/index.ts';
import { BufferPool } from './buffers.ts';
import { checkAbsent, checkContinues, checkNorm, checkRule, checkTensors } from './check.ts';
import { type Folded, type FoldedTensor, foldTensor } from './fold-tensor.ts';
import { defaultMemory, foldBytes } from './memory.ts';
import type { OpcmRule } from './opcm.ts';
import { encodeState, type MergeState, openState, STATE_FILE, type StateTensor, SUM_FILE, totalsOf } from './state.ts';
import { elementsOf, type FoldTensor, type TaskVector } from './task-vector.ts';

export interface FoldInput {
  /** The state before the step; null for the first update. It is only read. */
  readonly from: string | null;
  /** The state directory to make. It must not exist; its parent must. */
  readonly to: string;
  readonly tensors: readonly FoldTensor[];
  readonly update: TaskVector;
  readonly rule: OpcmRule;
  readonly engine: MatrixEngine;
  /** Bytes that the matrices in work may take together (`foldBytes`). Default: `defaultMemory()`. */
  readonly memory?: number;
  /** By tensor name: split ranks to take instead of those that the spectrum gives, where these are ties (`Spectrum`). */
  readonly splitRanks?: ReadonlyMap<string, number>;
}

export interface FoldSummary {
  /** Updates in the new state. */
  readonly steps: number;
  /** |T| of this update, over all tensors. */
  readonly updateNorm: number;
  /** Mean of the norms of all updates so far: the norm of the merged task vector. */
  readonly meanNorm: number;
  /** |S| of the new state. */
  readonly norm: number;
  /** The merged task vector is S / lambda. */
  readonly lambda: number;
  readonly tensors: readonly FoldedTensor[];
  /** Where the time went, summed over threads; `read` and `write` are of the state's and the update's files. */
  readonly phases: readonly Phase[];
}

/**
 * Folds one update into a state.
 *
 * Tensors are read one after another. Up to `engine.workers` of them, and one that waits, are in memory at a time, and no
 * more than fit into `memory`, but always one. The new directory appears whole under its name, flushed, or not at all;
 * its bytes depend neither on the number of workers nor on the memory. What killed processes left of the same step is
 * removed.
 *
 * @throws MergeError `BAD_INPUT`, `TARGET_EXISTS`, `STATE_*`, `NON_FINITE`; ComputeError from the engine; whatever
 *   `update.read` throws; the signal's reason when aborted. Nothing is left behind then.
 */
export async function foldStep(input: FoldInput, options: RunOptions = {}): Promise<FoldSummary> {
  const { from, to, tensors, rule } = input;
  options.signal?.throwIfAborted();
  checkRule(rule);
  checkTensors(tensors);
  const { norm } = input.update;
  // Looked at when the tensors are; until then nobody else does.
  if (typeof norm === 'object') norm.catch(() => undefined);
  else checkNorm(norm);
  await checkAbsent(to);
  for (const left of await abandonedSiblings(to)) await rm(left, { recursive: true, force: true });
  const before = from === null ? null : await openState(from, options);
  const staging = tempSibling(to);
  try {
    if (before !== null) checkContinues(before, tensors, rule);
    await mkdir(staging);
    const writer = await createSafetensors(
      join(staging, SUM_FILE),
      tensors.map(({ name, shape }) => ({ name, shape, dtype: 'F32' as const })),
    );
    let folded: { summary: FoldSummary; state: Uint8Array };
    try {
      folded = await foldTensors(input, before, writer, options);
      await writer.commit();
    } catch (error) {
      await writer.abort();
      throw error;
    }
    await writeFileDurably(join(staging, STATE_FILE), folded.state);
    options.signal?.throwIfAborted();
    await checkAbsent(to);
    await renameDurably(staging, to);
    return folded.summary;
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    throw error;
  } finally {
    await before?.close();
  }
}

async function foldTensors(
  input: FoldInput,
  before: MergeState | null,
  writer: CheckpointWriter,
  options: RunOptions,
): Promise<{ summary: FoldSummary; state: Uint8Array }> {
  const { tensors, update, rule, engine, memory = defaultMemory() } = input;
  const meter = new Meter();
  const pool = new BufferPool();
  // By tensor: sums and files do not depend on which job ends first.
  const results: { readonly report: FoldedTensor; readonly state: StateTensor; readonly updateSquares: number }[] = [];
  let done = 0;
  // The first failure stops the jobs of the other tensors as well.
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);

  const finish = async (index: number, pending: Promise<Folded>): Promise<void> => {
    const { report, sum, update, updateSquares, phases } = await pending;
    const bytes = new Uint8Array(sum.buffer, sum.byteOffset, sum.byteLength);
    const { name, shape, linear } = tensors[index]!;
    const sha256 = await meter.time('write', 'cpu', async () => {
      await writer.write(name, bytes);
      return createHash('sha256').update(bytes).digest('hex');
    });
    meter.add(phases);
    const state = { name, shape, linear, sumSquares: report.sumSquares, sha256 };
    results[index] = { report, state, updateSquares };
    pool.give({ sum, update });
    done++;
    options.onProgress?.({ phase: 'folding', done, total: tensors.length, unit: 'tensors' });
  };

  let given: number | undefined;
  Promise.resolve(update.norm).catch((error: unknown) => stop.abort(error));
  const inFlight = new Map<number, { readonly bytes: number; readonly job: Promise<Folded> }>();
  let used = 0;
  const finishNext = async (): Promise<void> => {
    const ended = [...inFlight].map(([index, { job }]) => job.then(() => index).catch(() => index));
    const index = await Promise.race(ended);
    const { bytes, job } = inFlight.get(index)!;
    await finish(index, job);
    inFlight.delete(index);
    used -= bytes;
  };
  // One more than the engine works on: it waits there, so that no worker waits for a tensor to be read.
  const most = engine.workers + 1;
  try {
    for (const [index, tensor] of tensors.entries()) {
      const bytes = foldBytes(tensor);
      while (inFlight.size > 0 && (inFlight.size >= most || used + bytes > memory)) await finishNext();
      signal.throwIfAborted();
      const buffers = pool.take(elementsOf(tensor.shape));
      const summed = before !== null && before.tensors[index]!.sumSquares > 0;
      const filled = await meter.time('read', 'cpu', async () => {
        if (summed) await before.read(index, buffers.sum, { signal });
        else buffers.sum.fill(0);
        return update.read(index, buffers.update);
      });
      if (!filled) buffers.update.fill(0);
      const splitRank = input.splitRanks?.get(tensor.name);
      const job = foldTensor({ tensor, ...buffers, filled: filled && summed, rule, splitRank, engine, signal });
      job.catch(() => undefined);
      inFlight.set(index, { bytes, job });
      used += bytes;
    }
    while (inFlight.size > 0) await finishNext();
    given = await update.norm;
    checkNorm(given);
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled([...inFlight.values()].map(({ job }) => job));
    throw error;
  }

  const squares = results.reduce((sum, { updateSquares }) => sum + updateSquares, 0);
  const updateNorm = given ?? Math.sqrt(squares);
  const steps = (before?.steps ?? 0) + 1;
  const sumNorms = (before?.sumNorms ?? 0) + updateNorm;
  const state = {
    steps,
    sumNorms,
    rule: { variant: rule.variant, alpha: rule.alpha },
    tensors: results.map(({ state }) => state),
  };
  const { norm, meanNorm, lambda } = totalsOf(state);
  return {
    summary: {
      steps,
      updateNorm,
      meanNorm,
      norm,
      lambda,
      tensors: results.map(({ report }) => report),
      phases: meter.phases,
    },
    state: encodeState(state),
  };
}
