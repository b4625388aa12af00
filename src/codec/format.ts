import { Cursor, pushScale, pushVarint, truncated } from './cursor.ts';
import { CodecError } from './errors.ts';
import { CODING_LOW_RANK, formatCoding, parseCoding, parseCount, parseLength } from './format-coding.ts';
import { parseLowRank } from './format-low-rank.ts';
import type { PayloadSection, ScaleMode, SectionCoding, TensorTable, TernaryTensor, UpdateSection } from './types.ts';

export { CODING_ANS, CODING_GOLOMB, CODING_LOW_RANK, formatCoding } from './format-coding.ts';

/** The byte layout of a payload, version 1: docs/payload-format.md. */
export const PAYLOAD_MAGIC = 0x4b4d5456; // "KMTV"
export const PAYLOAD_VERSION = 1;
export const FLAG_SCALE_PER_TENSOR = 1;

/** Magic, version, flags, section count; the global scale follows where there is one. */
export const HEADER_BYTES = 10;
export const COUNT_OFFSET = 6;
/**
 * Bytes of a section's header, at most. Coding 2 has the longest: index, count, rows and rank (varints of 8 bytes), its
 * own byte and a scale; for each factor a byte of coding, width, priors and length; and the right factor's count.
 */
export const MAX_SECTION_HEADER_BYTES = 4 * 8 + 1 + 4 + 2 * (1 + 8 + 1 + 8) + 8;

export interface PayloadHeader {
  readonly mode: ScaleMode;
  readonly count: number;
  /** The global scale; null per tensor, and in the zero payload. */
  readonly scale: number | null;
  /** Where the first section begins. */
  readonly length: number;
}

/**
 * Parses the first bytes of a payload (at least 14, or all there are).
 * @throws CodecError TRUNCATED, BAD_MAGIC, UNSUPPORTED_VERSION, BAD_FLAGS, BAD_TENSOR_COUNT, BAD_SCALE
 */
export function parseHeader(bytes: Uint8Array, table: TensorTable): PayloadHeader {
  if (bytes.length < HEADER_BYTES) throw truncated();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint32(0) !== PAYLOAD_MAGIC) {
    throw new CodecError('BAD_MAGIC', 'These bytes are not a kinmerge payload.');
  }
  const version = bytes[4]!;
  if (version !== PAYLOAD_VERSION) {
    throw new CodecError('UNSUPPORTED_VERSION', `Payload version ${version} is not known here; update kinmerge.`, {
      version,
    });
  }
  const flags = bytes[5]!;
  const count = view.getUint32(COUNT_OFFSET, true);
  const perTensor = flags === FLAG_SCALE_PER_TENSOR;
  if ((flags !== 0 && !perTensor) || (perTensor && count < 2)) {
    throw new CodecError('BAD_FLAGS', `Payload flags ${flags} are reserved, or do not fit ${count} tensors.`, {
      flags,
    });
  }
  if (count > table.length) {
    throw new CodecError('BAD_TENSOR_COUNT', `The payload has ${count} tensors, the table ${table.length}.`, { count });
  }
  if (perTensor || count === 0) {
    return { mode: perTensor ? 'tensor' : 'global', count, scale: null, length: HEADER_BYTES };
  }
  const cursor = new Cursor(bytes, HEADER_BYTES);
  const scale = cursor.scale();
  return { mode: 'global', count, scale, length: cursor.at };
}

/**
 * Parses the section header at `offset`. `bytes` begin there and hold a whole header, or all that is left of the
 * payload's `size` bytes. Nothing is allocated by what the header says.
 * @throws CodecError TRUNCATED, BAD_VARINT, INDEX_RANGE, INDEX_ORDER, BAD_COUNT, UNSUPPORTED_CODING,
 *   BAD_GOLOMB_PARAMETER, BAD_MODEL, BAD_FACTORS, BAD_SCALE, BAD_SECTION_LENGTH
 */
export function parseSection(
  bytes: Uint8Array,
  offset: number,
  size: number,
  header: PayloadHeader,
  table: TensorTable,
  previousIndex: number,
): UpdateSection {
  const cursor = new Cursor(bytes);
  const index = cursor.varint();
  if (index >= table.length) {
    throw new CodecError('INDEX_RANGE', `The payload names tensor ${index}, the table has ${table.length}.`, { index });
  }
  if (index <= previousIndex) {
    throw new CodecError('INDEX_ORDER', `The payload names tensor ${index} after ${previousIndex}.`, { index });
  }
  const { elements } = table[index]!;
  const nnz = parseCount(cursor, index, elements);
  const codingByte = cursor.byte();
  if (codingByte === CODING_LOW_RANK) {
    return parseLowRank(cursor, { index, elements, nnz, scale: header.scale, offset, size });
  }
  const coding = parseCoding(cursor, codingByte, index, elements);
  const scale = header.scale ?? cursor.scale();
  const byteLength = parseLength(cursor, coding, index, elements, nnz);
  if (offset + cursor.at + byteLength > size) throw truncated();
  return { index, elements, nnz, scale, ...coding, offset: offset + cursor.at, byteLength } satisfies PayloadSection;
}

/** The bytes before the first section. `scale` is the global one, null for scales per tensor. */
export function formatHeader(count: number, scale: number | null): Uint8Array {
  const withScale = scale !== null && count > 0;
  const bytes = new Uint8Array(HEADER_BYTES + (withScale ? 4 : 0));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, PAYLOAD_MAGIC);
  bytes[4] = PAYLOAD_VERSION;
  bytes[5] = scale === null && count > 0 ? FLAG_SCALE_PER_TENSOR : 0;
  view.setUint32(COUNT_OFFSET, count, true);
  if (withScale) view.setFloat32(HEADER_BYTES, scale, true);
  return bytes;
}

/** The header of the section of a ternary tensor. */
export function formatSection(
  t: Pick<TernaryTensor, 'index' | 'nnz' | 'scale'>,
  coding: SectionCoding,
  perTensor: boolean,
  byteLength: number,
): Uint8Array {
  const bytes: number[] = [];
  pushVarint(bytes, t.index);
  pushVarint(bytes, t.nnz);
  bytes.push(...formatCoding(coding));
  if (perTensor) pushScale(bytes, t.scale);
  pushVarint(bytes, byteLength);
  return Uint8Array.from(bytes);
}
