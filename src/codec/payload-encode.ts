import { CodecError } from './errors.ts';
import { formatHeader, formatSection } from './format.ts';
import { MIN_SCALE } from './limits.ts';
import { codeSection } from './section-choice.ts';
import { checkTable } from './table.ts';
import { checkTernary } from './ternary.ts';
import type { TensorTable, TernaryTensor } from './types.ts';

/** Header and code of one tensor of this shape, ready to be written. */
export function sectionBytes(
  t: TernaryTensor,
  shape: readonly number[],
  perTensor: boolean,
): [header: Uint8Array, code: Uint8Array] {
  const { coding, code } = codeSection(t, shape);
  return [formatSection(t, coding, perTensor, code.length), code];
}

/**
 * The payload of ternary tensors in ascending index; tensors that are left out are zero. The result depends on the
 * content alone: one scale is written globally, scales that differ are written per tensor.
 * @throws CodecError BAD_TABLE, BAD_TENSOR
 */
export function encodeTernarySync(table: TensorTable, tensors: Iterable<TernaryTensor>): Uint8Array {
  return assemble(table, [...tensors]);
}

/** As `encodeTernarySync`, from an iterable or async iterable. Holds all the tensors it is given. */
export async function encodeTernary(
  table: TensorTable,
  tensors: Iterable<TernaryTensor> | AsyncIterable<TernaryTensor>,
): Promise<Uint8Array> {
  const all: TernaryTensor[] = [];
  for await (const tensor of tensors) all.push(tensor);
  return assemble(table, all);
}

function assemble(table: TensorTable, tensors: readonly TernaryTensor[]): Uint8Array {
  checkTable(table);
  let previous = -1;
  for (const tensor of tensors) {
    checkTernary(tensor, table, previous);
    previous = tensor.index;
  }
  const first = tensors[0]?.scale ?? null;
  const scale = tensors.every((t) => t.scale === first) ? first : null;
  const parts = [formatHeader(tensors.length, scale)];
  for (const tensor of tensors) parts.push(...sectionBytes(tensor, table[tensor.index]!.shape, scale === null));
  return concat(parts);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** A scale for the wire: the nearest float32; 0 where that is below the normal range, so decodes to nothing. */
export function wireScale(scale: number, tensor: string | null): number {
  const rounded = Math.fround(scale);
  if (!Number.isFinite(rounded)) {
    throw new CodecError('SCALE_OVERFLOW', `The scale ${scale} does not fit a float32: lower the scale factor.`, {
      scale,
      tensor,
    });
  }
  return rounded < MIN_SCALE ? 0 : rounded;
}
