/** OPCM over files: folds the models in their order, then exports (docs/algorithms.md, C). */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { Meter } from '../compute/index.ts';
import { exportMerged } from './export.ts';
import { foldStep } from './fold.ts';
import type { MergeMethod } from './method.ts';
import { OPCM_VARIANTS } from './opcm.ts';

const parameters = z.strictObject({
  variant: z.enum(OPCM_VARIANTS).default('ref'),
  alpha: z.number().nonnegative().default(0.5),
  /** Factor on the merged task vector. */
  scale: z.number().default(1),
});

const modelParameters = z.strictObject({});

export const opcm: MergeMethod<typeof parameters, typeof modelParameters> = {
  name: 'opcm',
  parameters,
  modelParameters,
  async merge(task, { variant, alpha, scale }, _models, options) {
    const { base, tensors, sources, out, overwrite, dtype, metadata, memory } = task;
    const engine = await task.engine();
    const norms: number[] = [];
    const meter = new Meter();
    let state: string | null = null;
    for (const [i, update] of sources.entries()) {
      const to: string = join(task.workDirectory, `step-${i + 1}`);
      const rule = { variant, alpha };
      const summary = await foldStep(
        { from: state, to, tensors, update, rule, engine, memory },
        { ...options, onProgress: undefined },
      );
      task.checkPhases(summary.phases);
      norms.push(summary.updateNorm);
      meter.add(summary.phases);
      // Two states at most are on disk, however many models there are.
      if (state !== null) await rm(state, { recursive: true });
      state = to;
      options.onProgress?.({ phase: 'folding', done: i + 1, total: sources.length, unit: 'updates' });
    }
    const report = await exportMerged({ state, base, scale, out, overwrite, dtype, metadata }, options);
    const { lambda, bytes } = report;
    return { lambda, norms, phases: meter.phases, tensors: report.tensors, bytes };
  },
};
