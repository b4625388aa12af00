/** Choice by the accuracy of base plus update on held-out samples. */
import { expand, type PayloadReader } from '../codec/index.ts';
import { Evaluator, type EvaluatorInput } from '../evaluate/index.ts';
import type { RunOptions } from '../run-options.ts';
import { FACTOR_STEPS } from './grid.ts';
import { goodSettings, nearestToDefault, standardErrorOf, type Tried } from './one-error.ts';
import { defaultScaleFactor, defaultSettings } from './settings.ts';
import type { Choice, ChooseInput } from './types.ts';
import { withUnitPayload } from './unit-payload.ts';
import { type Addition, virtualWeights } from './virtual.ts';

/** Densities in a row that may bring nothing before the larger ones are left out. */
export const FRUITLESS_DENSITIES = 2;

const RULE =
  'The smallest density with a setting within one standard error of the best accuracy, and there the factor nearest to the default of those within it.';

/**
 * Tries densities from the smallest, and at each the factors from the default outwards. A direction ends when the
 * accuracy falls more than a standard error below the density's best, and so do the densities when
 * `FRUITLESS_DENSITIES` in a row did not exceed the best of the smaller ones.
 */
export async function chooseByEvaluation(
  input: ChooseInput,
  evaluation: EvaluatorInput,
  densities: readonly number[],
  options: RunOptions,
): Promise<Choice> {
  const evaluator = await Evaluator.open(evaluation, options);
  try {
    const progress = new SampleProgress(evaluator.samples, densities.length * FACTOR_STEPS.length, options);
    const tried: Tried[] = [];
    let fruitless = 0;
    for (const density of densities) {
      const best = Math.max(...tried.map((t) => t.accuracy));
      const found = await tryDensity({ input, evaluator, density, progress }, options);
      fruitless = Math.max(...found.map((t) => t.accuracy)) > best ? 0 : fruitless + 1;
      tried.push(...found);
      if (fruitless === FRUITLESS_DENSITIES) break;
    }
    const { good, standardError } = goodSettings(tried);
    const { density, scaleFactor } = nearestToDefault([...good]);
    return {
      by: 'evaluation',
      settings: { ...defaultSettings(density), scaleFactor },
      rule: RULE,
      standardError,
      table: tried.map((row) => ({ ...row, good: good.has(row) })),
    };
  } finally {
    await evaluator.close();
  }
}

interface DensityTrial {
  readonly input: ChooseInput;
  readonly evaluator: Evaluator;
  readonly density: number;
  readonly progress: SampleProgress;
}

async function tryDensity(trial: DensityTrial, options: RunOptions): Promise<Tried[]> {
  const { input, evaluator, density, progress } = trial;
  return withUnitPayload(input, density, options, async (payload) => {
    const found = new Map<number, Tried>();
    const attempt = async (step: number): Promise<Tried> => {
      const scaleFactor = step * defaultScaleFactor(density);
      const weights = virtualWeights(input.base, additionsOf(payload, scaleFactor, options));
      const { average, tasks } = await evaluator.score(weights, progress.options(`trying density ${density}`));
      progress.next();
      const row = { density, scaleFactor, bytes: payload.bytes, accuracy: average, tasks };
      found.set(step, row);
      return row;
    };
    let best = await attempt(1);
    const walk = async (steps: readonly number[]): Promise<void> => {
      for (const [i, step] of steps.entries()) {
        const row = await attempt(step);
        if (row.accuracy > best.accuracy) best = row;
        else if (row.accuracy < best.accuracy - standardErrorOf(best)) return progress.next(steps.length - i - 1);
      }
    };
    await walk(FACTOR_STEPS.filter((step) => step > 1));
    await walk(FACTOR_STEPS.filter((step) => step < 1).reverse());
    return [...found.entries()].sort(([a], [b]) => a - b).map(([, row]) => row);
  });
}

/** A factor times the payload's tensors. Each is decoded when it is needed, so one at a time is in memory. */
function additionsOf(reader: PayloadReader, factor: number, options: RunOptions): ReadonlyMap<string, Addition> {
  return new Map(
    reader.sections.map(({ index }) => [
      reader.table[index]!.name,
      async (values) => {
        const tensor = await reader.tensor(index, options);
        if (tensor === null) return;
        const unit = new Float32Array(values.length);
        expand(tensor, unit);
        for (let i = 0; i < values.length; i++) values[i] = values[i]! + Math.fround(factor * unit[i]!);
      },
    ]),
  );
}

/** Samples of all evaluations that may come; those that are left out count as done. */
class SampleProgress {
  readonly #samples: number;
  readonly #total: number;
  readonly #options: RunOptions;
  #done = 0;

  constructor(samples: number, evaluations: number, options: RunOptions) {
    this.#samples = samples;
    this.#total = samples * evaluations;
    this.#options = options;
  }

  options(phase: string): RunOptions {
    const { onProgress } = this.#options;
    const total = this.#total;
    return {
      ...this.#options,
      onProgress: ({ done }) => onProgress?.({ phase, done: this.#done + done, total, unit: 'samples' }),
    };
  }

  next(evaluations = 1): void {
    this.#done += evaluations * this.#samples;
  }
}
