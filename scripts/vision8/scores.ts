/** Accuracies of updates and of merges that exist in memory only. */
import { virtualWeights } from '../../src/choose/virtual.ts';
import { createEngine } from '../../src/compute/index.ts';
import { Evaluator } from '../../src/evaluate/index.ts';
import { foldTensor } from '../../src/merge/fold-tensor.ts';
import { type Checkpoint, openCheckpoint } from '../../src/tensors/index.ts';
import { graph, heads, type Task, testSet } from '../demo/vision8.ts';
import type { Vector } from './forms.ts';

/** `val` is for choosing, `test` for reporting what was chosen. */
export type Split = 'val' | 'test';

/** Scores the base plus a factor times a vector. */
export class Scorer {
  readonly #base: Checkpoint;
  readonly #heads: Checkpoint;
  readonly #evaluator: Evaluator;

  private constructor(base: Checkpoint, heads: Checkpoint, evaluator: Evaluator) {
    this.#base = base;
    this.#heads = heads;
    this.#evaluator = evaluator;
  }

  static async open(base: Checkpoint, tasks: readonly Task[], split: Split): Promise<Scorer> {
    const headTensors = await openCheckpoint(heads);
    const tests = tasks.map((task) => ({ task, path: testSet(task).replace(/test-(?=[^/\\]*$)/, `${split}-`) }));
    return new Scorer(base, headTensors, await Evaluator.open({ graph, heads: headTensors, tests }));
  }

  /** Mean accuracy over the tasks, percent. */
  async score(vector: Vector, factor: number): Promise<number> {
    const additions = new Map(
      [...vector].map(([name, unit]) => [
        name,
        (values: Float32Array) => {
          for (let i = 0; i < values.length; i++) values[i] = values[i]! + Math.fround(factor * unit[i]!);
        },
      ]),
    );
    return (await this.#evaluator.score(virtualWeights(this.#base, additions))).average;
  }

  async close(): Promise<void> {
    await this.#evaluator.close();
    await this.#heads.close();
  }
}

/**
 * OPCM of the vectors in their order (variant `ref`, alpha 0.5): the merged task vector at output scale 1. It is linear
 * in a factor common to all vectors.
 */
export async function mergeVectors(
  base: Checkpoint,
  linear: ReadonlySet<string>,
  vectors: readonly Vector[],
): Promise<Vector> {
  const engine = await createEngine({ device: 'cpu' });
  try {
    const rule = { variant: 'ref', alpha: 0.5 } as const;
    const { signal } = new AbortController();
    const merged = await Promise.all(
      [...base.tensors.values()].map(async ({ name, shape, elements }) => {
        const tensor = { name, shape, linear: linear.has(name) };
        let sum = new Float32Array(elements);
        let squares = 0;
        for (const vector of vectors) {
          const update = Float32Array.from(vector.get(name)!);
          const filled = squares > 0 && update.some((value) => value !== 0);
          const folded = await foldTensor({ tensor, sum, update, filled, rule, engine, signal });
          sum = folded.sum;
          squares = folded.report.sumSquares;
        }
        return { name, sum, squares };
      }),
    );
    const norm = Math.sqrt(merged.reduce((total, { squares }) => total + squares, 0));
    const meanNorm = vectors.reduce((total, vector) => total + normOf(vector), 0) / vectors.length;
    return new Map(merged.map(({ name, sum }) => [name, sum.map((value) => (value * meanNorm) / norm)]));
  } finally {
    await engine.close();
  }
}

function normOf(vector: Vector): number {
  let squares = 0;
  for (const values of vector.values()) for (const value of values) squares += value * value;
  return Math.sqrt(squares);
}
