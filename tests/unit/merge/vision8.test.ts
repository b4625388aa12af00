import { join } from 'node:path';
import { expect, it } from 'vitest';
import { exportMerged, foldStep, openState } from '../../../src/merge/index.ts';
import { openCheckpoint } from '../../../src/tensors/index.ts';
import { differenceOf, engineOf, readSum, ref, relative, scratch } from './helpers.ts';
import { TASKS, vision8 } from './vision8.ts';

/** From an independent float64 implementation with full singular value decompositions, in the order of the tasks. */
const LAMBDAS = [
  1, 1.4168601270708694, 1.7273042009905253, 1.986979375212595, 2.2176639484933753, 2.4290455994161504,
  2.6197739535046263, 2.800139061504728,
];

it('folds the eight experts of vision8 as an independent implementation does, and exports what it folded', async () => {
  const { base, tensors, open } = await vision8();
  expect(tensors.filter(({ linear }) => linear)).toHaveLength(16);
  const engine = await engineOf(2);
  const dir = await scratch();
  let from: string | null = null;
  for (const [i, task] of TASKS.entries()) {
    const update = await open(task);
    const to: string = join(dir, String(i));
    const summary = await foldStep({ from, to, tensors, update, rule: ref, engine });
    await update.close();
    expect(summary.steps).toBe(i + 1);
    expect(summary.tensors.filter(({ projected }) => projected)).toHaveLength(i === 0 ? 0 : 16);
    expect(Math.abs(summary.lambda / LAMBDAS[i]! - 1)).toBeLessThan(2e-8);
    // One real matrix has a singular value a tenth of what float32 data can tell from 0.
    const deficient = summary.tensors.filter(({ projected, rank }) => projected && rank !== 96);
    expect(deficient.map(({ name, rank }) => [name, rank])).toEqual(
      task === 'gtsrb' ? [['blocks.3.attn.proj.weight', 95]] : [],
    );
    from = to;
  }

  const state = await openState(from!);
  const out = join(dir, 'merged');
  const report = await exportMerged({ state: from, base, scale: 1, out, metadata: { recipe: 'test' } });
  expect(report).toMatchObject({ lambda: state.lambda, steps: 8, tensors: 53 });
  expect(report.norm).toBeCloseTo(state.meanNorm, 9);
  await state.close();
  const merged = await openCheckpoint(out);
  expect(merged.metadata.get('recipe')).toBe('test');
  const sums = await readSum(from!);
  for (const [name, change] of Object.entries(await differenceOf(base, merged))) {
    expect(
      relative(
        change,
        sums.get(name)!.map((s) => s / report.lambda),
      ),
      name,
    ).toBeLessThan(1e-4);
  }
  await merged.close();
});
