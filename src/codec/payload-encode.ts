import { CodecError } from './errors.ts';
import { formatHeader, formatSection } from './format.ts';
import { formatLowRank } from './format-low-rank.ts';
import { MIN_SCALE } from './limits.ts';
import { checkLowRank, leftFactor, rightFactor } from './low-rank.ts';
import type { SectionDraft } from './payload-file.ts';
import { codeSection } from './section-choice.ts';
import { checkTable } from './table.ts';
import { checkTernary } from './ternary.ts';
import type { LowRankTensor, TensorTable, UpdateTensor } from './types.ts';

/** Header and codes of one tensor's section, ready to be written. `shape` is the tensor's in the table. */
export function sectionDraft(t: UpdateTensor, shape: readonly number[]): SectionDraft {
  if (t.form === 'low-rank') return lowRankDraft(t);
  const { coding, code } = codeSection(t, shape);
  return { scale: t.scale, header: (perTensor) => formatSection(t, coding, perTensor, code.length), codes: [code] };
}

function lowRankDraft(t: LowRankTensor): SectionDraft {
  const left = codeSection(leftFactor(t), [t.rows, t.rank]);
  const right = codeSection(rightFactor(t), [t.rank, t.columns]);
  const lengthOf = ({ coding, code }: typeof left) => ({ coding, byteLength: code.length });
  return {
    scale: t.scale,
    header: (perTensor) => formatLowRank(t, lengthOf(left), lengthOf(right), perTensor),
    codes: [left.code, right.code],
  };
}

/**
 * The payload of ternary and low-rank tensors in ascending index; tensors that are left out are zero. The result depends
 * on the content alone: one scale is written globally, scales that differ are written per tensor.
 * @throws CodecError BAD_TABLE, BAD_TENSOR
 */
export function encodeTernarySync(table: TensorTable, tensors: Iterable<UpdateTensor>): Uint8Array {
  return assemble(table, [...tensors]);
}

/** As `encodeTernarySync`, from an iterable or async iterable. Holds all the tensors it is given. */
export async function encodeTernary(
  table: TensorTable,
  tensors: Iterable<UpdateTensor> | AsyncIterable<UpdateTensor>,
): Promise<Uint8Array> {
  const all: UpdateTensor[] = [];
  for await (const tensor of tensors) all.push(tensor);
  return assemble(table, all);
}

/**
 * Checks a tensor that is to be encoded against itself and the table; `previousIndex` is that of the one before, or -1.
 * @throws CodecError BAD_TENSOR
 */
export function checkUpdateTensor(t: UpdateTensor, table: TensorTable, previousIndex: number): void {
  const bad = (why: string) => new CodecError('BAD_TENSOR', `Update tensor ${t.index}: ${why}.`, { index: t.index });
  if (!Number.isInteger(t.index) || !table[t.index]) throw bad('its index is not in the tensor table');
  if (t.index <= previousIndex) throw bad(`give tensors in ascending index, this one follows ${previousIndex}`);
  if (t.form === 'low-rank') checkLowRank(t, table);
  else checkTernary(t, table);
}

function assemble(table: TensorTable, tensors: readonly UpdateTensor[]): Uint8Array {
  checkTable(table);
  let previous = -1;
  for (const tensor of tensors) {
    checkUpdateTensor(tensor, table, previous);
    previous = tensor.index;
  }
  const first = tensors[0]?.scale ?? null;
  const scale = tensors.every((t) => t.scale === first) ? first : null;
  const parts = [formatHeader(tensors.length, scale)];
  for (const tensor of tensors) {
    const { header, codes } = sectionDraft(tensor, table[tensor.index]!.shape);
    parts.push(header(scale === null), ...codes);
  }
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
