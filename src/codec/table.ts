import { compareNames, isDtype, isFloat } from '../tensors/dtype.ts';
import type { TensorPlace } from './encode/tensor-input.ts';
import { CodecError } from './errors.ts';
import { MAX_TABLE_TENSORS, MAX_TENSOR_ELEMENTS } from './limits.ts';
import type { TensorTable } from './types.ts';

/** What the encoder needs of a checkpoint; `Checkpoint` of `src/tensors` is one. */
export interface FloatSource {
  readonly tensors: ReadonlyMap<
    string,
    { readonly name: string; readonly dtype: string; readonly shape: readonly number[]; readonly elements: number }
  >;
  /** The file and byte range that hold a tensor, for readers in other threads. */
  place(name: string): TensorPlace;
}

/** Tensors of these dtypes form the task vector; all others are copied from the base (docs/algorithms.md A). */
export function isFloatDtype(dtype: string): boolean {
  return isDtype(dtype) && isFloat(dtype);
}

/** The table of a checkpoint's float tensors, in code-point order of names. */
export function tableOf(source: Pick<FloatSource, 'tensors'>): TensorTable {
  return [...source.tensors.values()]
    .filter((t) => isFloatDtype(t.dtype))
    .map(({ name, shape, elements }) => ({ name, shape: [...shape], elements }))
    .sort((a, b) => compareNames(a.name, b.name));
}

/**
 * Checks sizes and limits of a table, and returns its total of elements.
 * @throws CodecError BAD_TABLE
 */
export function checkTable(table: TensorTable): number {
  if (table.length > MAX_TABLE_TENSORS) {
    throw new CodecError('BAD_TABLE', `The tensor table has ${table.length} tensors; at most ${MAX_TABLE_TENSORS}.`, {
      tensors: table.length,
    });
  }
  let total = 0;
  for (const [index, { name, shape, elements }] of table.entries()) {
    const product = shape.reduce((a, b) => a * b, 1);
    const sound = Number.isInteger(elements) && elements >= 0 && shape.every((n) => Number.isInteger(n) && n >= 0);
    if (!sound || product !== elements || elements > MAX_TENSOR_ELEMENTS) {
      throw new CodecError(
        'BAD_TABLE',
        `Tensor ${JSON.stringify(name)} of the table has shape [${shape}] and ${elements} elements: the product must agree and stay at or below ${MAX_TENSOR_ELEMENTS}.`,
        { index, tensor: name },
      );
    }
    total += elements;
  }
  return total;
}

/**
 * Also checks that names ascend strictly by code point. The order decides between equal magnitudes, so an encoder that
 * took another order would choose other entries.
 * @throws CodecError BAD_TABLE
 */
export function checkOrderedTable(table: TensorTable): number {
  const total = checkTable(table);
  for (let i = 1; i < table.length; i++) {
    if (compareNames(table[i - 1]!.name, table[i]!.name) >= 0) {
      throw new CodecError(
        'BAD_TABLE',
        `Sort the tensor table by code point: ${JSON.stringify(table[i]!.name)} comes after ${JSON.stringify(table[i - 1]!.name)} or repeats it.`,
        { index: i, tensor: table[i]!.name },
      );
    }
  }
  return total;
}
