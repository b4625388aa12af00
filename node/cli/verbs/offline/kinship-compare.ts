import { type Container, openContainer, tableOf } from '../../../../src/codec/index.ts';
import {
  countPairs,
  DenseKinship,
  KinshipError,
  KinshipState,
  meanSimilarity,
  type Similarity,
  similarity,
} from '../../../../src/kinship/index.ts';
import { foldTensors, openTaskVector } from '../../../../src/merge/index.ts';
import type { RunOptions } from '../../../../src/run-options.ts';
import { openCheckpoint } from '../../../../src/tensors/index.ts';
import { closingAfter } from './files.ts';

/** What `kinship` prints; `a` and `b` are positions in `models`. */
export interface KinshipDocument {
  /** `ternary`: exact, as admission measures it. `dense`: on the values themselves. */
  readonly kind: 'ternary' | 'dense';
  readonly models: readonly { readonly path: string; readonly norm: number }[];
  readonly pairs: readonly (Similarity & { readonly a: number; readonly b: number })[];
  /** Of each model to all others, in the order of `models`: means over the pairs; null where one is undefined. */
  readonly kinship: readonly {
    readonly cosine: number | null;
    readonly pearson: number | null;
    readonly euclidean: number | null;
  }[];
}

/** Compares update files in their ternary form. One tensor of two updates, and the kinship state, are in memory. */
export function compareUpdates(paths: readonly string[], run: RunOptions): Promise<KinshipDocument> {
  return closingAfter(async (keep) => {
    const updates: Container[] = [];
    for (const path of paths) updates.push(keep(await openContainer(path, run)));
    for (const [i, update] of updates.entries()) requireSameTable(updates[0]!, update, paths[0]!, paths[i]!);
    const measures = [];
    for (const update of updates) measures.push(await update.check(run));
    const pairs: KinshipDocument['pairs'][number][] = [];
    for (let a = 0; a < updates.length; a++) {
      for (let b = a + 1; b < updates.length; b++) {
        const counts = await countPairs(updates[a]!.payload, updates[b]!.payload, run);
        pairs.push({ a, b, ...similarity(measures[a]!, measures[b]!, counts) });
      }
    }
    const kinship = meansOf(updates.length, pairs).map((mean) => ({ ...mean }));
    // The mean cosine as a node has it: against the sum of the others, exact in fixed point.
    if (measures.every(({ norm }) => norm > 0)) {
      const state = new KinshipState();
      for (const [i, update] of updates.entries()) await state.add(update.payload, measures[i]!, run);
      for (const [i, update] of updates.entries()) {
        await state.subtract(update.payload, measures[i]!, run);
        kinship[i]!.cosine = await state.meanCosine(update.payload, measures[i]!, run);
        await state.add(update.payload, measures[i]!, run);
      }
    }
    const models = measures.map(({ norm }, i) => ({ path: paths[i]!, norm }));
    return { kind: 'ternary' as const, models, pairs, kinship };
  });
}

/** Compares checkpoints (or update files) as task vectors on their base. One tensor of each is in memory. */
export function compareCheckpoints(
  paths: readonly string[],
  basePath: string,
  run: RunOptions,
): Promise<KinshipDocument> {
  return closingAfter(async (keep) => {
    const base = keep(await openCheckpoint(basePath, run));
    const tensors = foldTensors(base, []);
    const sources = [];
    for (const path of paths) sources.push(keep(await openTaskVector(path, base, tensors, run)));
    const dense = new DenseKinship(paths.length);
    const squares = paths.map(() => 0);
    for (const [index, { elements }] of tableOf(base).entries()) {
      const values: Float32Array[] = [];
      for (const [i, source] of sources.entries()) {
        const out = new Float32Array(elements);
        if (!(await source.read(index, out))) out.fill(0);
        values.push(out);
        squares[i]! += out.reduce((sum, value) => sum + value * value, 0);
      }
      run.signal?.throwIfAborted();
      dense.add(values);
      run.onProgress?.({ phase: 'comparing', done: index + 1, total: tensors.length, unit: 'tensors' });
    }
    const pairs = dense.result().map(({ pair: [a, b], whole }) => ({ a, b, ...whole }));
    const models = paths.map((path, i) => ({ path, norm: Math.sqrt(squares[i]!) }));
    return { kind: 'dense' as const, models, pairs, kinship: meansOf(paths.length, pairs) };
  });
}

function meansOf(count: number, pairs: KinshipDocument['pairs']) {
  return Array.from({ length: count }, (_, i) => meanSimilarity(pairs.filter(({ a, b }) => a === i || b === i)));
}

function requireSameTable(first: Container, other: Container, firstPath: string, path: string): void {
  const key = (container: Container) => JSON.stringify(container.table.map(({ name, shape }) => [name, shape]));
  if (key(first) === key(other)) return;
  const text = `${firstPath} and ${path} are updates of different models: compare updates of one base.`;
  throw new KinshipError('TABLE_MISMATCH', text, { paths: [firstPath, path] });
}
