/** What is measured: every choice on the val files, then the test files once for what was chosen. */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { defaultScaleFactor } from '../../src/choose/settings.ts';
import { type Checkpoint, openCheckpoint } from '../../src/tensors/index.ts';
import { base as basePath, expert, TASKS } from '../demo/vision8.ts';
import { FORMS, type Form, Masks, taskVector, UNITS, type Unit, type Vector } from './forms.ts';
import { mergeVectors, Scorer, type Split } from './scores.ts';

export const DENSITIES = [0.05, 0.1, 0.2, 0.3, 0.5] as const;

/** Multiples of the default factor 1 / sqrt(density); the least-squares scale is tried beside them. */
export const MULTIPLES = [0.7, 0.85, 1, 1.15, 1.35, 1.6] as const;
const DEVIATIONS = [1, 2, 3, 4, 5, 6, 8, 10, 12] as const;
const EXPERT_SCALES = [0.75, 1, 1.25, 1.5] as const;
const OUTPUT_SCALES = [1, 1.25, 1.5, 1.75, 2, 2.5] as const;

/** Mean over the eight tasks, percent. */
export interface Score {
  readonly factor: number;
  readonly accuracy: number;
}

export interface SingleRow {
  readonly form: Form;
  readonly unit: Unit;
  readonly density: number;
  /** Share of the task vectors' energy at the least-squares scales, mean over the experts. */
  readonly energy: number;
  readonly val: readonly Score[];
  /** The factor that is best on val, and what it and the default factor reach on test. */
  readonly best: number;
  readonly test: readonly Score[];
}

export interface MergeRow {
  /** Null: the uncompressed experts. */
  readonly form: Form | null;
  readonly density: number | null;
  /** By output scale, at the default factor. */
  readonly val: readonly Score[];
  readonly best: number;
  /** At output scale 1 and at the one that is best on val. */
  readonly test: readonly Score[];
}

export interface Findings {
  /** By factor on the uncompressed task vector. */
  readonly experts: { readonly val: readonly Score[]; readonly test: readonly Score[] };
  readonly single: readonly SingleRow[];
  readonly merge: readonly MergeRow[];
}

/** Sums of accuracies over the tasks, by what was tried. */
class Table {
  readonly #sums = new Map<string, Map<number, number>>();

  async add(key: string, scorer: Scorer, vector: Vector, factors: Iterable<number>): Promise<void> {
    const row = this.#sums.get(key) ?? new Map<number, number>();
    this.#sums.set(key, row);
    for (const factor of factors) row.set(factor, (row.get(factor) ?? 0) + (await scorer.score(vector, factor)));
  }

  row(key: string, count: number = TASKS.length): Score[] {
    const scores = [...this.#sums.get(key)!].map(([factor, sum]) => ({ factor, accuracy: sum / count }));
    return scores.sort((a, b) => a.factor - b.factor);
  }
}

/** Calls `say` with what is under way. */
export async function run(say: (what: string) => void): Promise<Findings> {
  const base = await openCheckpoint(basePath);
  try {
    const single = await singles(base, say);
    return { ...single, merge: await merges(base, say) };
  } finally {
    await base.close();
  }
}

async function singles(base: Checkpoint, say: (what: string) => void): Promise<Omit<Findings, 'merge'>> {
  const rows = DENSITIES.flatMap((density) => FORMS.flatMap((form) => UNITS.map((unit) => ({ density, form, unit }))));
  const keyOf = (row: object) => JSON.stringify(row);
  const val = new Table();
  const test = new Table();
  const energies = new Map<string, number>();

  const pass = async (split: Split, table: Table, factorsOf: (row: (typeof rows)[number]) => Iterable<number>) => {
    for (const task of TASKS) {
      say(`${split}: single expert ${task}`);
      const scorer = await Scorer.open(base, [task], split);
      try {
        const scales = split === 'val' ? EXPERT_SCALES : new Set([1, bestOf(val.row('expert')).factor]);
        await table.add('expert', scorer, await taskVector(base, expert(task)), scales);
        for (const density of DENSITIES) {
          const masks = await Masks.make(base, expert(task), density);
          for (const row of rows.filter((row) => row.density === density)) {
            const key = keyOf(row);
            await table.add(key, scorer, masks.vector(row.form, row.unit), factorsOf(row));
            if (split === 'val') energies.set(key, (energies.get(key) ?? 0) + masks.energy(row.form) / TASKS.length);
          }
        }
      } finally {
        await scorer.close();
      }
    }
  };
  await pass('val', val, ({ unit, density }) =>
    unit === 'deviation' ? DEVIATIONS : new Set([1, ...MULTIPLES.map((c) => c * defaultScaleFactor(density))]),
  );
  const bestFactor = (row: object) => bestOf(val.row(keyOf(row))).factor;
  await pass('test', test, (row) =>
    row.unit === 'deviation' ? [bestFactor(row)] : new Set([bestFactor(row), defaultScaleFactor(row.density)]),
  );
  return {
    experts: { val: val.row('expert'), test: test.row('expert') },
    single: rows.map((row) => {
      const key = keyOf(row);
      return { ...row, energy: energies.get(key)!, val: val.row(key), best: bestFactor(row), test: test.row(key) };
    }),
  };
}

async function merges(base: Checkpoint, say: (what: string) => void): Promise<MergeRow[]> {
  const model = JSON.parse(await readFile(join(dirname(basePath), 'model.json'), 'utf8')) as {
    linear_matrices: string[];
  };
  const linear = new Set(model.linear_matrices);
  const val = await Scorer.open(base, TASKS, 'val');
  const test = await Scorer.open(base, TASKS, 'test');
  const rows: MergeRow[] = [];
  const add = async (form: Form | null, density: number | null, vectors: readonly Vector[]): Promise<void> => {
    say(`merge: ${form ?? 'uncompressed'}${density === null ? '' : ` at ${density}`}`);
    const merged = await mergeVectors(base, linear, vectors);
    const factor = density === null ? 1 : defaultScaleFactor(density);
    const score = async (scorer: Scorer, scales: Iterable<number>): Promise<Score[]> => {
      const scores: Score[] = [];
      for (const scale of scales) scores.push({ factor: scale, accuracy: await scorer.score(merged, factor * scale) });
      return scores;
    };
    const chosen = await score(val, OUTPUT_SCALES);
    const best = bestOf(chosen).factor;
    rows.push({ form, density, val: chosen, best, test: await score(test, new Set([1, best])) });
  };
  try {
    const whole: Vector[] = [];
    for (const task of TASKS) whole.push(await taskVector(base, expert(task)));
    await add(null, null, whole);
    for (const density of DENSITIES) {
      const masks: Masks[] = [];
      for (const task of TASKS) masks.push(await Masks.make(base, expert(task), density));
      for (const form of ['tensor', 'global'] as const) {
        const vectors = masks.map((mask) => mask.vector(form, 'magnitude'));
        await add(form, density, vectors);
      }
    }
    return rows;
  } finally {
    await val.close();
    await test.close();
  }
}

/** The first of the most accurate. */
function bestOf(scores: readonly Score[]): Score {
  return scores.reduce((best, score) => (score.accuracy > best.accuracy ? score : best));
}
