import { type Cursor, pushScale, pushVarint, truncated } from './cursor.ts';
import { CodecError } from './errors.ts';
import { CODING_LOW_RANK, checkCount, formatCoding, parseCoding, parseCount, parseLength } from './format-coding.ts';
import { isLowRankScale, isLowRankShape } from './low-rank.ts';
import type { LowRankSection, LowRankTensor, PayloadSection, SectionCoding } from './types.ts';

/** What a section's header said before the byte of coding 2, and where it lies. */
export interface LowRankStart {
  readonly index: number;
  readonly elements: number;
  /** Entries of the left factor. */
  readonly nnz: number;
  /** The payload's one scale; null when the section has its own. */
  readonly scale: number | null;
  /** Byte offset of the section. */
  readonly offset: number;
  /** Size of the payload in bytes. */
  readonly size: number;
}

/**
 * Parses the rest of the header of a low-rank section, after the byte of coding 2.
 * @throws CodecError TRUNCATED, BAD_VARINT, BAD_FACTORS, BAD_COUNT, BAD_SCALE, UNSUPPORTED_CODING,
 *   BAD_GOLOMB_PARAMETER, BAD_MODEL, BAD_SECTION_LENGTH
 */
export function parseLowRank(cursor: Cursor, start: LowRankStart): LowRankSection {
  const { index, elements, nnz } = start;
  const rows = cursor.varint();
  if (rows < 1 || elements % rows !== 0) throw badFactors(index, `${elements} elements in ${rows} rows`);
  const columns = elements / rows;
  const rank = cursor.varint();
  if (!isLowRankShape(rows, columns, rank)) throw badFactors(index, `${rows} x ${columns} elements at rank ${rank}`);
  checkCount(nnz, index, rows * rank);
  const scale = start.scale ?? cursor.scale();
  if (!isLowRankScale(scale, rank)) {
    throw new CodecError('BAD_SCALE', `Tensor ${index} has scale ${scale}, which is not exact at rank ${rank}.`, {
      index,
      scale,
      rank,
    });
  }
  const left = parseFactor(cursor, index, rows * rank, nnz);
  const right = parseFactor(cursor, index, rank * columns, parseCount(cursor, index, rank * columns));
  const offset = start.offset + cursor.at;
  const byteLength = left.byteLength + right.byteLength;
  if (offset + byteLength > start.size) throw truncated();
  return {
    form: 'low-rank',
    index,
    elements,
    nnz: left.nnz + right.nnz,
    scale,
    rows,
    columns,
    rank,
    left: { ...left, scale, offset },
    right: { ...right, scale, offset: offset + left.byteLength },
    offset,
    byteLength,
  };
}

function parseFactor(
  cursor: Cursor,
  index: number,
  elements: number,
  nnz: number,
): Omit<PayloadSection, 'scale' | 'offset'> {
  const coding = parseCoding(cursor, cursor.byte(), index, elements);
  const byteLength = parseLength(cursor, coding, index, elements, nnz);
  return { index, elements, nnz, ...coding, byteLength };
}

function badFactors(index: number, what: string): CodecError {
  return new CodecError('BAD_FACTORS', `Tensor ${index} claims ${what}, which cannot be a low-rank tensor.`, { index });
}

/** How a factor is coded, and the length of its code. */
export interface FactorCode {
  readonly coding: SectionCoding;
  readonly byteLength: number;
}

/** The header of a low-rank section. */
export function formatLowRank(t: LowRankTensor, left: FactorCode, right: FactorCode, perTensor: boolean): Uint8Array {
  const bytes: number[] = [];
  pushVarint(bytes, t.index);
  pushVarint(bytes, t.left.nnz);
  bytes.push(CODING_LOW_RANK);
  pushVarint(bytes, t.rows);
  pushVarint(bytes, t.rank);
  if (perTensor) pushScale(bytes, t.scale);
  bytes.push(...formatCoding(left.coding));
  pushVarint(bytes, left.byteLength);
  pushVarint(bytes, t.right.nnz);
  bytes.push(...formatCoding(right.coding));
  pushVarint(bytes, right.byteLength);
  return Uint8Array.from(bytes);
}
