/** How the two factors of a module lie in the shape of the base's tensor. */
import type { TensorInfo } from '../header.ts';
import { checkedProduct } from '../header.ts';

/** One factor as a matrix in the orientation of the base's tensor. */
export interface LoraFactor {
  /** The adapter's tensor. */
  readonly tensor: string;
  readonly rows: number;
  readonly columns: number;
  /** Stored columns first: as columns x rows. */
  readonly transposed: boolean;
}

/**
 * The update of one tensor of the base: delta = scaling · left · right, a matrix of rows x columns whose row-major
 * entries are those of the base's tensor. Of convolutions, columns are all dimensions but the first.
 */
export interface LoraFactors {
  readonly rows: number;
  readonly columns: number;
  readonly rank: number;
  /** float64: alpha / rank, or alpha / sqrt(rank). */
  readonly scaling: number;
  /** rows x rank. */
  readonly left: LoraFactor;
  /** rank x columns. */
  readonly right: LoraFactor;
}

/** The tensors of one module. `A` is [rank, inputs...], `B` is [outputs, rank, 1...]. */
export interface ModuleFactors {
  readonly module: string;
  readonly embedding: boolean;
  readonly a: TensorInfo;
  readonly b: TensorInfo;
}

export type Placement =
  | { readonly kind: 'placed'; readonly factors: Omit<LoraFactors, 'scaling'>; readonly side: Side }
  /** The product has another shape than the base's tensor. */
  | { readonly kind: 'reshaped'; readonly found: readonly number[] };

/** Outputs first as in `Linear`, inputs first as in `Conv1D` and embeddings, or a square that could be either. */
export type Side = 'outputs first' | 'inputs first' | 'square';

/** What is wrong with the factors alone, whatever the base; undefined where they multiply. */
export function factorFault({ a, b, embedding }: ModuleFactors): string | undefined {
  const [form, other] = [a.shape, b.shape];
  if (a.elements === 0 || b.elements === 0) return 'has no elements (saved from a model that was split over machines?)';
  if (form.length < 2 || form.length !== other.length || (embedding && form.length !== 2)) return shapes(a, b);
  if (form[0] !== other[1] || other.slice(2).some((n) => n !== 1)) return shapes(a, b);
  const size = checkedProduct([other[0]!, ...form.slice(1)]);
  return size === undefined ? `${shapes(a, b)}: the product is above 2^53 entries` : undefined;
}

function shapes(a: TensorInfo, b: TensorInfo): string {
  return `has A of [${a.shape}] and B of [${b.shape}], which do not multiply`;
}

/** The rank of sound factors: their own, whatever the configuration says. */
export function rankOf({ a }: ModuleFactors): number {
  return a.shape[0]!;
}

/** @param target - the shape of the base's tensor */
export function placeFactors(module: ModuleFactors, target: readonly number[], fanInFanOut: boolean): Placement {
  const { a, b, embedding } = module;
  const outputs = b.shape[0]!;
  const inputs = a.shape.slice(1);
  const plain = [outputs, ...inputs];
  const flipped = [inputs[0]!, outputs];
  const matrix = inputs.length === 1;
  if (embedding) return same(target, flipped) ? placed(module, true, 'inputs first') : reshaped(flipped);
  const square = matrix && inputs[0] === outputs && same(target, plain);
  if (square) return placed(module, fanInFanOut, 'square');
  if (same(target, plain)) return placed(module, false, 'outputs first');
  if (matrix && same(target, flipped)) return placed(module, true, 'inputs first');
  return reshaped(matrix && fanInFanOut ? flipped : plain);
}

function placed(module: ModuleFactors, flip: boolean, side: Side): Placement {
  const rank = rankOf(module);
  const outputs = module.b.shape[0]!;
  const inputs = module.a.shape.slice(1).reduce((x, y) => x * y, 1);
  const [rows, columns] = flip ? [inputs, outputs] : [outputs, inputs];
  // The transposed product B·A is Aᵀ·Bᵀ: the factors change places.
  const [left, right] = flip ? [module.a, module.b] : [module.b, module.a];
  return {
    kind: 'placed',
    side,
    factors: {
      rows,
      columns,
      rank,
      left: { tensor: left.name, rows, columns: rank, transposed: flip },
      right: { tensor: right.name, rows: rank, columns, transposed: flip },
    },
  };
}

function reshaped(found: readonly number[]): Placement {
  return { kind: 'reshaped', found };
}

function same(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i]);
}
