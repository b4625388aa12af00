import { narrow, widen } from '../../../src/tensors/index.ts';
import { heavyQuantiles, heavyTail, normalQuantiles, QUANTILES } from './distributions.ts';
import type { SyntheticTensor, TaskVectorLaw } from './model.ts';
import { RandomStream } from './random.ts';

/** Rows `firstRow` to `firstRow + rows - 1` of a tensor that is seen as a matrix of rows of `width` elements. */
export interface Block {
  readonly tensor: SyntheticTensor;
  readonly width: number;
  readonly firstRow: number;
  readonly rows: number;
}

/** A block of both checkpoints, raw BF16 bytes, and how many entries are equal in both. */
export interface DrawnBlock {
  readonly base: Uint8Array;
  readonly finetune: Uint8Array;
  readonly unchanged: number;
}

/** Elements of a block, about: a few megabytes of working memory. */
const BLOCK_ELEMENTS = 2 ** 20;

/** Cuts a tensor into blocks. A vector is one row, so it has neither row nor column scales. */
export function blocksOf(tensor: SyntheticTensor): Block[] {
  const elements = tensor.shape.reduce((a, b) => a * b, 1);
  const height = tensor.shape.length < 2 ? 1 : tensor.shape[0]!;
  const width = elements / height;
  const step = Math.max(1, Math.floor(BLOCK_ELEMENTS / width));
  const blocks: Block[] = [];
  for (let firstRow = 0; firstRow < height; firstRow += step) {
    blocks.push({ tensor, width, firstRow, rows: Math.min(step, height - firstRow) });
  }
  return blocks;
}

/** Draws blocks; any order, and any worker, gives the same bytes. */
export class BlockDrawer {
  readonly #seed: string;
  readonly #law: TaskVectorLaw;
  readonly #normal = normalQuantiles();
  readonly #heavy = heavyQuantiles();
  readonly #tables = new Map<string, { bits: Uint16Array; values: Float32Array }>();

  constructor(seed: string, law: TaskVectorLaw) {
    this.#seed = seed;
    this.#law = law;
  }

  draw({ tensor, width, firstRow, rows }: Block): DrawnBlock {
    const elements = rows * width;
    const { bits, values } = this.#baseTable(tensor);
    const heavy = this.#heavy;
    const random = new RandomStream(`${this.#seed} ${tensor.name} ${firstRow}`);
    const words = new Uint32Array(elements);
    random.fill(words);
    const law = this.#law;
    const ofTensor = law.rms * this.#scales(`${tensor.name} tensor`, 1, law.tensorSpread)[0]!;
    const isMatrix = tensor.shape.length > 1;
    const height = isMatrix ? tensor.shape[0]! : 1;
    const ofRows = this.#scales(`${tensor.name} rows`, height, isMatrix ? law.rowSpread : 0);
    const ofColumns = this.#scales(`${tensor.name} columns`, width, isMatrix ? law.columnSpread : 0);

    const base = new Uint16Array(elements);
    const sums = new Float32Array(elements);
    for (let row = 0, i = 0; row < rows; row++) {
      const scale = ofTensor * ofRows[firstRow + row]!;
      for (let column = 0; column < width; column++, i++) {
        const word = words[i]!;
        const bin = word >>> 16;
        const isTail = bin === 0 || bin === QUANTILES - 1;
        const change = isTail ? heavyTail(bin, random.uniform()) : heavy[bin]!;
        base[i] = bits[word & 0xffff]!;
        sums[i] = values[word & 0xffff]! + change * scale * ofColumns[column]!;
      }
    }
    const finetune = narrow(sums, 'BF16');
    const after = new Uint16Array(finetune.buffer, finetune.byteOffset, elements);
    let unchanged = 0;
    for (let i = 0; i < elements; i++) if (base[i] === after[i]) unchanged++;
    return { base: new Uint8Array(base.buffer), finetune, unchanged };
  }

  /** The base's values by their bin: rounded to BF16, as bits and as float32. */
  #baseTable({ mean, deviation }: SyntheticTensor): { bits: Uint16Array; values: Float32Array } {
    const key = `${mean} ${deviation}`;
    let table = this.#tables.get(key);
    if (table === undefined) {
      const bytes = narrow(
        Float32Array.from(this.#normal, (x) => mean + deviation * x),
        'BF16',
      );
      table = { bits: new Uint16Array(bytes.buffer, bytes.byteOffset, QUANTILES), values: widen(bytes, 'BF16') };
      this.#tables.set(key, table);
    }
    return table;
  }

  /** Log-normal scales whose mean square is 1. */
  #scales(seed: string, count: number, spread: number): Float64Array {
    if (spread === 0) return new Float64Array(count).fill(1);
    const random = new RandomStream(`${this.#seed} ${seed}`);
    return Float64Array.from({ length: count }, () => Math.exp(spread * random.normal() - spread * spread));
  }
}
