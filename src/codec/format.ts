import { MAX_WIDTH, MIN_WIDTH } from './ans-model.ts';
import { CodecError } from './errors.ts';
import { minEntryBits } from './size.ts';
import { isWireScale } from './ternary.ts';
import type { PayloadSection, ScaleMode, SectionCoding, TensorTable, TernaryTensor } from './types.ts';

/** The byte layout of a payload, version 1: docs/payload-format.md. */
export const PAYLOAD_MAGIC = 0x4b4d5456; // "KMTV"
export const PAYLOAD_VERSION = 1;
export const FLAG_SCALE_PER_TENSOR = 1;
export const CODING_GOLOMB = 0;
export const CODING_ANS = 1;

/** Magic, version, flags, section count; the global scale follows where there is one. */
export const HEADER_BYTES = 10;
export const COUNT_OFFSET = 6;
/** A code of coding 1 begins with the coder's state. */
const STATE_BYTES = 4;
/** A section header is at most 4 varints of 8 bytes, the coding byte, the byte of priors and a scale: 38 bytes. */
export const MAX_SECTION_HEADER_BYTES = 38;

export interface PayloadHeader {
  readonly mode: ScaleMode;
  readonly count: number;
  /** The global scale; null per tensor, and in the zero payload. */
  readonly scale: number | null;
  /** Where the first section begins. */
  readonly length: number;
}

/** Reads numbers from the front of a section header; whatever is missing is missing from the payload. */
class Cursor {
  at = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  byte(): number {
    const value = this.#bytes[this.at++];
    if (value === undefined) throw truncated();
    return value;
  }

  /** Unsigned LEB128, minimal, at most 2^53 - 1. */
  varint(): number {
    let value = 0;
    let factor = 1;
    for (let i = 0; i < 8; i++) {
      const byte = this.byte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) {
        if (byte === 0 && i > 0) break;
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      factor *= 128;
    }
    throw new CodecError('BAD_VARINT', 'A number in the payload is not in its shortest form or too large.');
  }

  scale(): number {
    if (this.at + 4 > this.#bytes.length) throw truncated();
    const value = new DataView(this.#bytes.buffer, this.#bytes.byteOffset + this.at).getFloat32(0, true);
    this.at += 4;
    if (!isWireScale(value)) {
      throw new CodecError('BAD_SCALE', `A scale in the payload is ${value}, not a positive normal float32.`);
    }
    return value;
  }
}

function truncated(): CodecError {
  return new CodecError('TRUNCATED', 'The payload ends too early. Fetch it again.');
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
  const cursor = new Cursor(bytes);
  cursor.at = HEADER_BYTES;
  const scale = cursor.scale();
  return { mode: 'global', count, scale, length: cursor.at };
}

/**
 * Parses the section header at `offset`. `bytes` begin there and hold a whole header, or all that is left of the
 * payload's `size` bytes. Nothing is allocated by what the header says.
 * @throws CodecError TRUNCATED, BAD_VARINT, INDEX_RANGE, INDEX_ORDER, BAD_COUNT, UNSUPPORTED_CODING,
 *   BAD_GOLOMB_PARAMETER, BAD_MODEL, BAD_SCALE, BAD_SECTION_LENGTH
 */
export function parseSection(
  bytes: Uint8Array,
  offset: number,
  size: number,
  header: PayloadHeader,
  table: TensorTable,
  previousIndex: number,
): PayloadSection {
  const cursor = new Cursor(bytes);
  const index = cursor.varint();
  if (index >= table.length) {
    throw new CodecError('INDEX_RANGE', `The payload names tensor ${index}, the table has ${table.length}.`, { index });
  }
  if (index <= previousIndex) {
    throw new CodecError('INDEX_ORDER', `The payload names tensor ${index} after ${previousIndex}.`, { index });
  }
  const { elements } = table[index]!;
  const nnz = cursor.varint();
  if (nnz < 1 || nnz > elements) {
    throw new CodecError('BAD_COUNT', `Tensor ${index} claims ${nnz} of ${elements} entries.`, { index, nnz });
  }
  const coding = parseCoding(cursor, index, elements);
  const scale = header.scale ?? cursor.scale();
  const byteLength = cursor.varint();
  // No code of this encoder is longer than the two bit masks that it stands for: 2 bits per element.
  if (byteLength < (coding.model ? STATE_BYTES : 1) || byteLength > Math.ceil(elements / 4)) {
    throw new CodecError('BAD_SECTION_LENGTH', `Tensor ${index} claims ${byteLength} bytes of code.`, {
      index,
      byteLength,
    });
  }
  // Under coding 1 an entry halves the state or more, which has 31 bits at first, 23 in the end, and what it reads.
  const most = coding.model ? byteLength * 8 - 24 : byteLength * 8;
  if (nnz * (coding.model ? 1 : minEntryBits(coding.golombM)) > most) {
    throw new CodecError('BAD_COUNT', `Tensor ${index} claims ${nnz} entries in ${byteLength} bytes.`, { index, nnz });
  }
  if (offset + cursor.at + byteLength > size) throw truncated();
  return { index, elements, nnz, scale, ...coding, offset: offset + cursor.at, byteLength };
}

function parseCoding(cursor: Cursor, index: number, elements: number): SectionCoding {
  const coding = cursor.byte();
  if (coding !== CODING_GOLOMB && coding !== CODING_ANS) {
    throw new CodecError('UNSUPPORTED_CODING', `Tensor ${index} uses coding ${coding}; this version knows 0 and 1.`, {
      index,
      coding,
    });
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

/** The fields of a section's header that say how it is coded. */
export function formatCoding({ golombM, model }: SectionCoding): number[] {
  const bytes = [model ? CODING_ANS : CODING_GOLOMB];
  pushVarint(bytes, model ? model.width : golombM);
  if (model && model.width > 0) bytes.push((model.rows << 4) | model.columns);
  return bytes;
}

/** The header of one section. */
export function formatSection(
  t: TernaryTensor,
  coding: SectionCoding,
  perTensor: boolean,
  byteLength: number,
): Uint8Array {
  const bytes: number[] = [];
  pushVarint(bytes, t.index);
  pushVarint(bytes, t.nnz);
  bytes.push(...formatCoding(coding));
  if (perTensor) {
    const scale = new Uint8Array(4);
    new DataView(scale.buffer).setFloat32(0, t.scale, true);
    bytes.push(...scale);
  }
  pushVarint(bytes, byteLength);
  return Uint8Array.from(bytes);
}

function pushVarint(bytes: number[], value: number): void {
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) | 0x80);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
}
