/** Steps of the fold in processes of their own, and what leads up to them. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BenchmarkContext } from '../benchmark.ts';
import { runModule } from '../child.ts';
import { measuredModule } from '../compiled.ts';
import { BAR_CORES } from '../machine.ts';
import type { Variant } from './floor.ts';
import type { Folded, FoldJob } from './fold-child.ts';
import type { Model } from './models.ts';
import { type Backend, CPU, type FoldReport, fold, openEngine } from './subject.ts';
import { writeUpdate } from './updates.ts';

const FOLD = 'merge/fold-child';

/** Updates of a model by their step, from 1. */
export interface Updates {
  readonly model: Model;
  /** The payload's path. */
  at(step: number): string;
}

/** Synthetic updates of a model, written to the scratch directory when first asked for. */
export async function syntheticUpdates(context: BenchmarkContext, model: Model, steps: number): Promise<Updates> {
  const at = (step: number) => join(context.workspace.scratch, `${model.name}-${step}.update`);
  context.say(`${steps} updates of ${model.name}`);
  for (let step = 1; step <= steps; step++) {
    context.signal.throwIfAborted();
    await writeUpdate(at(step), model, step);
  }
  return { model, at };
}

/**
 * Folds the first `steps` updates in this process, without measuring anything.
 *
 * @returns the paths of the states after the steps named in `keep`
 */
export async function foldFirst(
  { workspace, signal, say }: BenchmarkContext,
  { model, at }: Updates,
  options: { readonly variant: Variant; readonly backend?: Backend; readonly keep: readonly number[] },
): Promise<{ readonly states: ReadonlyMap<number, string>; readonly seconds: number }> {
  const { variant, backend = CPU, keep } = options;
  const steps = Math.max(...keep);
  const path = (step: number) =>
    join(workspace.scratch, `${model.name}-${variant}-${backend.device}-${backend.eigensolver}-state-${step}`);
  const states = new Map<number, string>();
  const started = performance.now();
  const engine = await openEngine(backend, BAR_CORES);
  try {
    for (let step = 1; step <= steps; step++) {
      if (step > 1) say(`${model.name}, ${variant}: update ${step} of ${steps}`);
      const from = step === 1 ? null : path(step - 1);
      // What a group that was stopped left there.
      await rm(path(step), { recursive: true, force: true });
      const report = await fold({ from, to: path(step), payload: at(step), tensors: model.tensors, variant }, engine, {
        signal,
      });
      if (step > 1) requireProducts(report, backend);
      if (keep.includes(step)) states.set(step, path(step));
      if (from !== null && !keep.includes(step - 1)) await rm(from, { recursive: true });
    }
    return { states, seconds: (performance.now() - started) / 1000 };
  } finally {
    await engine.close();
  }
}

export interface MeasuredStep {
  readonly updates: Updates;
  /** Which update is folded, into the state `from`. */
  readonly step: number;
  readonly from: string;
  readonly variant: Variant;
  readonly backend: Backend;
  readonly prefix: readonly string[];
}

/** Takes one step in a fresh process, on the cores of the bars; the new state is removed. */
export async function takeStep(
  { workspace, signal }: BenchmarkContext,
  { updates, step, from, variant, backend, prefix }: MeasuredStep,
): Promise<Folded> {
  const to = join(workspace.scratch, 'measured-state');
  const { tensors } = updates.model;
  const job: FoldJob = { from, to, payload: updates.at(step), tensors, variant, backend, workers: BAR_CORES };
  try {
    const folded = await runModule<Folded>(await measuredModule(workspace, FOLD, signal), job, { signal, prefix });
    requireProducts(folded, backend);
    return folded;
  } finally {
    await rm(to, { recursive: true, force: true });
  }
}

/** An engine that went over to another device would make the figures those of another backend. */
function requireProducts({ phases }: FoldReport, { device }: Backend): void {
  const devices = phases.filter(({ name }) => name === 'products').map((phase) => phase.device);
  if (devices.includes(device)) return;
  throw new Error(`asked for ${device}, but the large products ran on ${devices.join(', ') || 'nothing'}`);
}

/** Removes states and updates. */
export async function removeAll(paths: Iterable<string>): Promise<void> {
  for (const path of paths) await rm(path, { recursive: true, force: true });
}
