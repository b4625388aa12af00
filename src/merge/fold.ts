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
import { checkAbsent, checkContinues, checkRule, checkTensors, checkUpdate } from './check.ts';
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
 * Tensors are read one after another. Up to `engine.workers` of them are in memory at a time, and no more than fit into
 * `memory`, but always one. The new directory appears whole under its name, flushed, or not at all; its bytes depend
 * neither on the number of workers nor on the memory. What killed processes left of the same step is removed.
 *
 * @throws MergeError `BAD_INPUT`, `TARGET_EXISTS`, `STATE_*`, `NON_FINITE`; ComputeError from the engine; whatever
 *   `update.read` throws; the signal's reason when aborted. Nothing is left behind then.
 */
export async function foldStep(input: FoldInput, options: RunOptions = {}): Promise<FoldSummary> {
  const { from, to, tensors, rule } = input;
  options.signal?.throwIfAborted();
  checkRule(rule);
  checkTensors(tensors);
  checkUpdate(input.update);
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
  const reports: FoldedTensor[] = [];
  const stateTensors: StateTensor[] = [];
  let updateSquares = 0;
  // The first failure stops the jobs of the other tensors as well.
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);

  const finish = async (pending: Promise<Folded>): Promise<void> => {
    const { report, sum, update, updateSquares: squares, phases } = await pending;
    const bytes = new Uint8Array(sum.buffer, sum.byteOffset, sum.byteLength);
    const { name, shape, linear } = tensors[reports.length]!;
    const sha256 = await meter.time('write', 'cpu', async () => {
      await writer.write(report.name, bytes);
      return createHash('sha256').update(bytes).digest('hex');
    });
    meter.add(phases);
    stateTensors.push({ name, shape, linear, sumSquares: report.sumSquares, sha256 });
    reports.push(report);
    updateSquares += squares;
    pool.give({ sum, update });
    options.onProgress?.({ phase: 'folding', done: reports.length, total: tensors.length, unit: 'tensors' });
  };

  const inFlight: { readonly bytes: number; readonly job: Promise<Folded> }[] = [];
  let used = 0;
  const finishOldest = async (): Promise<void> => {
    const { bytes, job } = inFlight.shift()!;
    await finish(job);
    used -= bytes;
  };
  try {
    for (const [index, tensor] of tensors.entries()) {
      const bytes = foldBytes(tensor);
      // Results are taken in the order of the tensors, so sums and files do not depend on which job ends first.
      while (inFlight.length > 0 && (inFlight.length >= engine.workers || used + bytes > memory)) await finishOldest();
      signal.throwIfAborted();
      const buffers = pool.take(elementsOf(tensor.shape));
      const summed = before !== null && before.tensors[index]!.sumSquares > 0;
      const given = await meter.time('read', 'cpu', async () => {
        if (summed) await before.read(index, buffers.sum, { signal });
        else buffers.sum.fill(0);
        return update.read(index, buffers.update);
      });
      if (!given) buffers.update.fill(0);
      const splitRank = input.splitRanks?.get(tensor.name);
      const job = foldTensor({ tensor, ...buffers, filled: given && summed, rule, splitRank, engine, signal });
      job.catch(() => undefined);
      inFlight.push({ bytes, job });
      used += bytes;
    }
    while (inFlight.length > 0) await finishOldest();
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(inFlight.map(({ job }) => job));
    throw error;
  }

  const updateNorm = update.norm ?? Math.sqrt(updateSquares);
  const steps = (before?.steps ?? 0) + 1;
  const sumNorms = (before?.sumNorms ?? 0) + updateNorm;
  const state = { steps, sumNorms, rule: { variant: rule.variant, alpha: rule.alpha }, tensors: stateTensors };
  const { norm, meanNorm, lambda } = totalsOf(state);
  return {
    summary: { steps, updateNorm, meanNorm, norm, lambda, tensors: reports, phases: meter.phases },
    state: encodeState(state),
  };
}
