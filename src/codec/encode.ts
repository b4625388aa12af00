import type { RunOptions } from '../run-options.ts';
import { containerHead } from './container-format.ts';
import { CodecError } from './errors.ts';
import { BlockSum, sampleDeviation } from './moments.ts';
import { wireScale } from './payload-encode.ts';
import { PayloadFile } from './payload-file.ts';
import { keepCount, Ternariser, type Threshold, TopK } from './select.ts';
import { entropyBoundBits, fp16Bytes } from './size.ts';
import { checkOrderedTable, type FloatSource } from './table.ts';
import { checkSameTensors, notFinite, TaskVectorReader } from './task-vector.ts';
import type { ScaleMode, TensorTable } from './types.ts';

export interface EncodeInput {
  readonly base: FloatSource;
  readonly finetune: FloatSource;
  readonly table: TensorTable;
  /** Share of entries to keep, in (0, 1]. */
  readonly density: number;
  /** α: the scale is α times the standard deviation of the unpruned vector. */
  readonly scaleFactor: number;
  /** Default `global`. */
  readonly mode?: ScaleMode;
  /** Puts the head of an offline container before the payload (`openContainer`). Default false. */
  readonly container?: boolean;
}

export interface EncodeReport {
  /** Size of the payload, without a container's head. */
  readonly bytes: number;
  /** Elements of the table. */
  readonly elements: number;
  /** Entries in the payload. */
  readonly nnz: number;
  /** nnz / elements, 0 for an empty table. */
  readonly density: number;
  /** Standard deviation of the whole unpruned vector; null in mode `tensor`. */
  readonly sigma: number | null;
  /** Mode `global`: the one scale. Mode `tensor`: those of the coded tensors in order. Empty for a zero payload. */
  readonly scales: readonly number[];
  /** Coded tensors: position in the table, entries, and the deviation and scale that apply to it. */
  readonly tensors: readonly {
    readonly index: number;
    readonly nnz: number;
    readonly sigma: number;
    readonly scale: number;
  }[];
  /** Σ |kept| / nnz: the scale of least square error for the same masks, over all coded tensors; 0 without any. */
  readonly leastSquaresScale: number;
  /** Entropy bound of the one density `density` (docs/algorithms.md B.3), in bytes, rounded up. */
  readonly entropyBoundBytes: number;
  /** The same vector as 16-bit floats. */
  readonly fp16Bytes: number;
}

/** What one tensor gets: which entries, and the scale (0: it decodes to nothing, so it is left out). */
interface TensorRule extends Threshold {
  readonly sigma: number;
  readonly scale: number;
  readonly kept: number;
}

/**
 * Compresses `finetune - base` to a payload file (ComPEFT, docs/algorithms.md A and B). Streams: three passes over
 * both checkpoints in mode `global`, two in mode `tensor`; memory is about two copies of the largest tensor as float32.
 * The file appears under its name complete and durable, or not at all. A vector whose scale is 0 (all entries equal,
 * or none) gives the zero payload.
 *
 * @throws CodecError BAD_TABLE, BAD_PARAMETER, TENSOR_MISMATCH, NOT_FINITE, SCALE_OVERFLOW; whatever the checkpoints
 *   and the file system throw
 */
export async function encodeTaskVector(
  input: EncodeInput,
  out: string,
  options: RunOptions = {},
): Promise<EncodeReport> {
  const { table, density, scaleFactor, mode = 'global' } = input;
  if (!(density > 0 && density <= 1)) {
    throw new CodecError('BAD_PARAMETER', `Density ${density} is not in (0, 1].`, { density });
  }
  if (!(scaleFactor > 0 && Number.isFinite(scaleFactor))) {
    throw new CodecError('BAD_PARAMETER', `Scale factor ${scaleFactor} is not a positive number.`, { scaleFactor });
  }
  if (mode !== 'global' && mode !== 'tensor') {
    throw new CodecError('BAD_PARAMETER', `Mode ${JSON.stringify(mode)} is neither global nor tensor.`, { mode });
  }
  const elements = checkOrderedTable(table);
  checkSameTensors(input.base, input.finetune, table);
  const prefix = input.container ? containerHead(table, { mode, density, scaleFactor }) : new Uint8Array(0);

  const run = new EncodeRun(input, elements, options);
  const rules = mode === 'global' ? await run.globalRules() : await run.tensorRules();
  const coded = rules.filter((rule) => rule.kept > 0 && rule.scale > 0);
  const scales = new Set(coded.map((rule) => rule.scale));
  const oneScale = scales.size === 1 ? coded[0]!.scale : null;
  const written = await run.write(rules, prefix, oneScale, coded.length === 0, out);

  const actual = elements === 0 ? 0 : written.nnz / elements;
  return {
    ...written,
    elements,
    density: actual,
    sigma: mode === 'global' ? (rules[0]?.sigma ?? 0) : null,
    scales: mode === 'global' ? [...scales] : written.tensors.map((t) => t.scale),
    entropyBoundBytes: Math.ceil(entropyBoundBits(actual, elements) / 8),
    fp16Bytes: fp16Bytes(elements),
  };
}

class EncodeRun {
  readonly #table: TensorTable;
  readonly #density: number;
  readonly #scaleFactor: number;
  readonly #elements: number;
  readonly #options: RunOptions;
  readonly #reader: TaskVectorReader;

  constructor({ base, finetune, table, density, scaleFactor }: EncodeInput, elements: number, options: RunOptions) {
    this.#table = table;
    this.#density = density;
    this.#scaleFactor = scaleFactor;
    this.#elements = elements;
    this.#options = options;
    this.#reader = new TaskVectorReader(base, finetune, options);
  }

  /** One selection over the whole vector. All rules are one object, so its ties run through all tensors. */
  async globalRules(): Promise<TensorRule[]> {
    const topK = new TopK(keepCount(this.#density, this.#elements));
    const sum = new BlockSum();
    await this.#pass('measuring', async (values, index) => {
      await this.#measure(values, index, topK, sum);
    });
    topK.locate();
    const mean = this.#elements === 0 ? 0 : sum.value / this.#elements;
    const squares = new BlockSum();
    await this.#pass('selecting', async (values) => {
      await this.#refine(values, topK, squares, mean);
    });
    const sigma = sampleDeviation(squares.value, this.#elements);
    const rule = { ...topK.threshold(), sigma, scale: wireScale(this.#scaleFactor * sigma, null) };
    return this.#table.map(() => rule);
  }

  /** A selection and a deviation per tensor, while the tensor is in memory. */
  async tensorRules(): Promise<TensorRule[]> {
    const rules: TensorRule[] = [];
    await this.#pass('selecting', async (values, index) => {
      const { name, elements } = this.#table[index]!;
      const topK = new TopK(keepCount(this.#density, elements));
      const sum = new BlockSum();
      await this.#measure(values, index, topK, sum);
      topK.locate();
      const squares = new BlockSum();
      await this.#refine(values, topK, squares, elements === 0 ? 0 : sum.value / elements);
      const sigma = sampleDeviation(squares.value, elements);
      rules.push({ ...topK.threshold(), sigma, scale: wireScale(this.#scaleFactor * sigma, name) });
    });
    return rules;
  }

  async write(
    rules: readonly TensorRule[],
    prefix: Uint8Array,
    oneScale: number | null,
    empty: boolean,
    out: string,
  ): Promise<Pick<EncodeReport, 'bytes' | 'nnz' | 'tensors' | 'leastSquaresScale'>> {
    const file = await PayloadFile.create(out, prefix, oneScale, empty);
    try {
      const tensors: { index: number; nnz: number; sigma: number; scale: number }[] = [];
      let nnz = 0;
      let sumMagnitudes = 0;
      let rule: TensorRule | undefined;
      let ternariser: Ternariser | undefined;
      if (!empty) {
        await this.#pass('writing', async (values, index) => {
          if (rule !== rules[index] || !ternariser) {
            rule = rules[index]!;
            ternariser = new Ternariser(rule);
          }
          if (rule.scale === 0 || rule.kept === 0) return;
          const { tensor, magnitudes } = ternariser.take(index, values, rule.scale);
          if (!tensor) return;
          await file.write(tensor, this.#table[index]!.shape);
          tensors.push({ index, nnz: tensor.nnz, sigma: rule.sigma, scale: rule.scale });
          nnz += tensor.nnz;
          sumMagnitudes += magnitudes;
        });
      }
      this.#options.signal?.throwIfAborted();
      const bytes = await file.commit();
      return { bytes, nnz, tensors, leastSquaresScale: nnz === 0 ? 0 : sumMagnitudes / nnz };
    } catch (error) {
      await file.abort();
      throw error;
    }
  }

  async #measure(values: Float32Array, index: number, topK: TopK, sum: BlockSum): Promise<void> {
    await this.#reader.slices(values.length, (start, end) => {
      const bad = topK.countUpper(values, start, end);
      if (bad >= 0) notFinite(this.#table[index]!.name, bad);
      sum.add(values, start, end);
    });
  }

  async #refine(values: Float32Array, topK: TopK, squares: BlockSum, mean: number): Promise<void> {
    await this.#reader.slices(values.length, (start, end) => {
      topK.countLower(values, start, end);
      squares.addSquares(values, start, end, mean);
    });
  }

  async #pass(phase: string, work: (values: Float32Array, index: number) => Promise<void>): Promise<void> {
    const total = this.#table.length;
    for (const [index, tensor] of this.#table.entries()) {
      this.#options.onProgress?.({ phase, done: index, total, unit: 'tensors' });
      await work(await this.#reader.read(tensor), index);
    }
    this.#options.onProgress?.({ phase, done: total, total, unit: 'tensors' });
  }
}
