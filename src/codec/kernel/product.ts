import type { Pacer } from '../pacer.ts';
import { maskWords } from '../ternary.ts';
import type { LowRankTensor, SignMasks } from '../types.ts';
import { aligned, type Kernel } from './kernel.ts';
import { withKernel } from './pool.ts';

/** Bytes of the right factor that lie in memory as 16-bit integers: they stay in the second-level cache. */
const RIGHT_BYTES = 512 * 1024;

/** Additions of 16-bit integers, at most, of one piece: about a millisecond. */
const SLICE_ADDITIONS = 8 * 2 ** 20;

/** A piece of a product: rows and columns that are computed in one go. */
export interface ProductPiece {
  readonly rowFrom: number;
  readonly rowTo: number;
  readonly firstColumn: number;
  readonly columns: number;
  /** Columns rounded up to a multiple of 8, which is how rows lie in the kernel's memory. */
  readonly stride: number;
}

/** A low-rank tensor whose factors lie in a kernel's memory. */
export class ProductInKernel {
  readonly kernel: Kernel;
  /** The first free address. */
  readonly end: number;
  readonly #tensor: LowRankTensor;
  readonly #left: MasksAt;
  readonly #right: MasksAt;
  readonly #columns: number;
  readonly #room: number;

  constructor(kernel: Kernel, tensor: LowRankTensor) {
    this.kernel = kernel;
    this.#tensor = tensor;
    const { rows, columns, rank } = tensor;
    this.#left = { at: kernel.heap, words: maskWords(rows * rank) };
    this.#right = { at: endOf(this.#left), words: maskWords(rank * columns) };
    this.#room = endOf(this.#right);
    // At least one vector: the rank is at most 1024.
    this.#columns = Math.min(columns, Math.max(8, Math.floor(RIGHT_BYTES / 2 / rank / 8) * 8));
    this.end = aligned(this.#room + 2 * (rank + 1) * strideOf(this.#columns));
    kernel.reach(this.end);
    place(kernel, this.#left, tensor.left);
    place(kernel, this.#right, tensor.right);
  }

  /** All pieces, blocks of columns one after another; while one is in hand the kernel's product calls refer to it. */
  *pieces(maxRows = Number.POSITIVE_INFINITY): Generator<ProductPiece> {
    const { rows, columns, rank } = this.#tensor;
    const { calls } = this.kernel;
    const [l, r] = [this.#left, this.#right];
    for (let first = 0; first < columns; first += this.#columns) {
      const count = Math.min(this.#columns, columns - first);
      const stride = strideOf(count);
      const [lMinus, rMinus] = [l.at + aligned(4 * l.words), r.at + aligned(4 * r.words)];
      calls.product_begin(l.at, lMinus, r.at, rMinus, rank, columns, first, count, this.#room);
      const step = Math.min(maxRows, Math.max(1, Math.floor(SLICE_ADDITIONS / (rank * stride))));
      for (let rowFrom = 0; rowFrom < rows; rowFrom += step) {
        const rowTo = Math.min(rows, rowFrom + step);
        yield { rowFrom, rowTo, firstColumn: first, columns: count, stride };
      }
    }
  }
}

interface MasksAt {
  readonly at: number;
  readonly words: number;
}

/** Behind both masks. */
function endOf({ at, words }: MasksAt): number {
  return at + 2 * aligned(4 * words);
}

function place(kernel: Kernel, { at, words }: MasksAt, { plus, minus }: SignMasks): void {
  kernel.u32(at, words).set(plus);
  kernel.u32(at + aligned(4 * words), words).set(minus);
}

function strideOf(columns: number): number {
  return Math.ceil(columns / 8) * 8;
}

/** In the units of a pacer, entries to decode: an element takes up to rank / 8 vector additions, 64 of which are like one. */
function workOf({ rank }: LowRankTensor, elements: number): number {
  return elements * Math.max(1, rank / 64);
}

/** Σ K, Σ K² and the largest |K| of a low-rank tensor's product K: exact integers. */
export function measureProduct(
  tensor: LowRankTensor,
  pacer: Pacer,
): Promise<{ readonly sum: number; readonly squares: number; readonly peak: number }> {
  return withKernel(async (kernel) => {
    const { calls } = kernel;
    calls.product_clear();
    for (const { rowFrom, rowTo, columns } of new ProductInKernel(kernel, tensor).pieces()) {
      calls.product_measure(rowFrom, rowTo);
      await pacer.add(workOf(tensor, (rowTo - rowFrom) * columns));
    }
    return { sum: calls.product_sum(), squares: calls.product_squares(), peak: calls.product_peak() };
  });
}

/** Float32 entries computed between two copies out of the kernel's memory. */
const EXPANDED_ENTRIES = 65_536;

/** Writes scale · K, row-major; the scale has so few bits that no entry is rounded. */
export function expandProduct(tensor: LowRankTensor, out: Float32Array): void {
  withKernel((kernel) => {
    const { calls } = kernel;
    const { scale, columns: width } = tensor;
    const product = new ProductInKernel(kernel, tensor);
    // A row of a block of columns is at most RIGHT_BYTES / 2 entries long, so the room holds one.
    const room = aligned(product.end);
    kernel.reach(room + 4 * Math.max(EXPANDED_ENTRIES, strideOf(Math.min(width, RIGHT_BYTES))));
    const maxRows = Math.max(1, Math.floor(EXPANDED_ENTRIES / strideOf(width)));
    for (const { rowFrom, rowTo, firstColumn, columns, stride } of product.pieces(maxRows)) {
      calls.product_expand(rowFrom, rowTo, scale, room);
      const values = kernel.f32(room, (rowTo - rowFrom) * stride);
      for (let row = rowFrom, at = 0; row < rowTo; row++, at += stride) {
        out.set(values.subarray(at, at + columns), row * width + firstColumn);
      }
    }
  });
}

/** Σ K · signs of a low-rank tensor's product and a ternary tensor of as many elements: an exact integer. */
export function productDot(
  tensor: LowRankTensor,
  signs: Pick<SignMasks, 'plus' | 'minus'>,
  pacer: Pacer,
): Promise<number> {
  return withKernel(async (kernel) => {
    const { calls } = kernel;
    const product = new ProductInKernel(kernel, tensor);
    const masks = { at: product.end, words: signs.plus.length };
    kernel.reach(endOf(masks));
    place(kernel, masks, { ...signs, nnz: 0 });
    calls.product_clear();
    const minus = masks.at + aligned(4 * masks.words);
    for (const { rowFrom, rowTo, firstColumn, columns } of product.pieces()) {
      calls.product_dot(rowFrom, rowTo, masks.at, minus, tensor.columns, firstColumn);
      await pacer.add(workOf(tensor, (rowTo - rowFrom) * columns));
    }
    return calls.product_sum();
  });
}
