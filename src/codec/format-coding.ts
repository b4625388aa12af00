import { type Cursor, pushVarint } from './cursor.ts';
import { CodecError } from './errors.ts';
import { MAX_WIDTH, MIN_WIDTH } from './limits.ts';
import { minEntryBits } from './size.ts';
import type { SectionCoding } from './types.ts';

/** How the entries of a tensor or of a factor are coded: docs/payload-format.md. */
export const CODING_GOLOMB = 0;
export const CODING_ANS = 1;
/** In place of these two, in a section's header: the tensor is the product of two factors, each with a coding of its own. */
export const CODING_LOW_RANK = 2;

/** A code of coding 1 begins with the coder's state. */
const STATE_BYTES = 4;

/** The number of entries of a tensor, or of a factor, of so many elements. @throws CodecError BAD_COUNT */
export function parseCount(cursor: Cursor, index: number, elements: number): number {
  const nnz = cursor.varint();
  checkCount(nnz, index, elements);
  return nnz;
}

/** @throws CodecError BAD_COUNT */
export function checkCount(nnz: number, index: number, elements: number): void {
  if (nnz >= 1 && nnz <= elements) return;
  throw new CodecError('BAD_COUNT', `Tensor ${index} claims ${nnz} of ${elements} entries.`, { index, nnz });
}

/**
 * The fields of a coding, after its byte.
 * @throws CodecError UNSUPPORTED_CODING, BAD_GOLOMB_PARAMETER, BAD_MODEL
 */
export function parseCoding(cursor: Cursor, coding: number, index: number, elements: number): SectionCoding {
  if (coding !== CODING_GOLOMB && coding !== CODING_ANS) {
    throw new CodecError(
      'UNSUPPORTED_CODING',
      `Tensor ${index} uses coding ${coding}, which this version does not know there; update kinmerge.`,
      { index, coding },
    );
  }
  if (coding === CODING_GOLOMB) {
    const golombM = cursor.varint();
    if (golombM < 1 || golombM > elements) {
      throw new CodecError('BAD_GOLOMB_PARAMETER', `Tensor ${index} has Golomb parameter ${golombM}.`, {
        index,
        golombM,
      });
    }
    return { golombM };
  }
  const width = cursor.varint();
  if (width === 0) return { golombM: 0, model: { width, rows: 0, columns: 0 } };
  if (width < MIN_WIDTH || width > MAX_WIDTH || elements % width !== 0) {
    throw new CodecError('BAD_MODEL', `Tensor ${index} has ${elements} elements in rows of ${width}.`, {
      index,
      width,
    });
  }
  const priors = cursor.byte();
  if (priors === 0) {
    throw new CodecError('BAD_MODEL', `Tensor ${index} has rows, but neither rows nor columns are modelled.`, {
      index,
    });
  }
  return { golombM: 0, model: { width, rows: priors >>> 4, columns: priors & 15 } };
}

/**
 * The length of a code, and whether `nnz` entries can fit in it.
 * @throws CodecError BAD_SECTION_LENGTH, BAD_COUNT
 */
export function parseLength(
  cursor: Cursor,
  { golombM, model }: SectionCoding,
  index: number,
  elements: number,
  nnz: number,
): number {
  const byteLength = cursor.varint();
  // No code of this encoder is longer than the two bit masks that it stands for: 2 bits per element.
  if (byteLength < (model ? STATE_BYTES : 1) || byteLength > Math.ceil(elements / 4)) {
    throw new CodecError('BAD_SECTION_LENGTH', `Tensor ${index} claims ${byteLength} bytes of code.`, {
      index,
      byteLength,
    });
  }
  // Under coding 1 an entry halves the state or more, which has 31 bits at first, 23 in the end, and what it reads.
  const most = model ? byteLength * 8 - 24 : byteLength * 8;
  if (nnz * (model ? 1 : minEntryBits(golombM)) > most) {
    throw new CodecError('BAD_COUNT', `Tensor ${index} claims ${nnz} entries in ${byteLength} bytes.`, { index, nnz });
  }
  return byteLength;
}

/** The fields of a header that say how a tensor or a factor is coded. */
export function formatCoding({ golombM, model }: SectionCoding): number[] {
  const bytes = [model ? CODING_ANS : CODING_GOLOMB];
  pushVarint(bytes, model ? model.width : golombM);
  if (model && model.width > 0) bytes.push((model.rows << 4) | model.columns);
  return bytes;
}
