import * as dagCbor from '@ipld/dag-cbor';
import type { EncoderSettings } from './encode/settings.ts';
import { CodecError } from './errors.ts';
import { MAX_CONTAINER_HEADER_BYTES, MAX_DIMENSIONS, MAX_NAME_BYTES, MAX_TABLE_TENSORS } from './limits.ts';
import { checkOrderedTable } from './table.ts';
import type { TensorTable } from './types.ts';

/** The head of an offline container: docs/payload-format.md. */
export const CONTAINER_MAGIC = 0x4b4d5443; // "KMTC"
export const CONTAINER_VERSION = 1;
/** Magic and header length. */
export const CONTAINER_PREFIX_BYTES = 8;

/** Magic, header length and dag-cbor header. */
export function containerHead(table: TensorTable, encoder: EncoderSettings): Uint8Array {
  checkOrderedTable(table);
  const header = dagCbor.encode({
    version: CONTAINER_VERSION,
    encoder: {
      mode: encoder.mode,
      density: encoder.density,
      scaleUnit: encoder.scaleUnit,
      scaleFactor: encoder.scaleFactor,
    },
    tensors: table.map(({ name, shape }) => ({ name, shape: [...shape] })),
  });
  // What is written must be readable again.
  parseContainerHeader(header);
  const head = new Uint8Array(CONTAINER_PREFIX_BYTES + header.length);
  const view = new DataView(head.buffer);
  view.setUint32(0, CONTAINER_MAGIC);
  view.setUint32(4, header.length, true);
  head.set(header, CONTAINER_PREFIX_BYTES);
  return head;
}

/**
 * Length of the header that follows the first 8 bytes.
 * @throws CodecError BAD_CONTAINER_MAGIC, BAD_CONTAINER_HEADER
 */
export function parseContainerPrefix(bytes: Uint8Array, size: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < CONTAINER_PREFIX_BYTES || view.getUint32(0) !== CONTAINER_MAGIC) {
    throw new CodecError('BAD_CONTAINER_MAGIC', 'This is not a file of `kinmerge encode`.');
  }
  const length = view.getUint32(4, true);
  if (length > MAX_CONTAINER_HEADER_BYTES || CONTAINER_PREFIX_BYTES + length > size) {
    throw bad(`its length ${length} is above the limit or above the file's`);
  }
  return length;
}

/** @throws CodecError UNSUPPORTED_CONTAINER_VERSION, BAD_CONTAINER_HEADER */
export function parseContainerHeader(bytes: Uint8Array): { table: TensorTable; encoder: EncoderSettings } {
  if (bytes.length > MAX_CONTAINER_HEADER_BYTES) throw bad(`it is longer than ${MAX_CONTAINER_HEADER_BYTES} bytes`);
  let value: unknown;
  let canonical: Uint8Array;
  try {
    value = dagCbor.decode(bytes);
    canonical = dagCbor.encode(value);
  } catch (cause) {
    throw bad('it is not dag-cbor', cause);
  }
  if (Buffer.compare(canonical, bytes) !== 0) throw bad('it is not canonical dag-cbor');
  if (isRecord(value) && typeof value.version === 'number' && value.version !== CONTAINER_VERSION) {
    throw new CodecError(
      'UNSUPPORTED_CONTAINER_VERSION',
      `Container version ${value.version} is not known here; update kinmerge.`,
      { version: value.version },
    );
  }
  const { version, encoder, tensors } = fields(value, ['version', 'encoder', 'tensors']);
  if (version !== CONTAINER_VERSION) throw bad('its version is not a number');
  const { mode, density, scaleUnit, scaleFactor } = fields(encoder, ['mode', 'density', 'scaleUnit', 'scaleFactor']);
  if (mode !== 'global' && mode !== 'tensor') throw bad('its mode is neither global nor tensor');
  if (typeof density !== 'number' || !(density > 0 && density <= 1)) throw bad('its density is not in (0, 1]');
  if (scaleUnit !== 'deviation' && scaleUnit !== 'magnitude') throw bad('its scale unit is not known');
  if (typeof scaleFactor !== 'number' || !(scaleFactor > 0 && Number.isFinite(scaleFactor))) {
    throw bad('its scale factor is not a positive number');
  }
  if (!Array.isArray(tensors) || tensors.length > MAX_TABLE_TENSORS) throw bad('its tensors are not a list in bounds');
  const table = tensors.map((tensor: unknown) => {
    const { name, shape } = fields(tensor, ['name', 'shape']);
    if (typeof name !== 'string' || Buffer.byteLength(name) > MAX_NAME_BYTES)
      throw bad('a tensor name is not in bounds');
    const isShape = Array.isArray(shape) && shape.length <= MAX_DIMENSIONS && shape.every(isSize);
    if (!isShape) throw bad(`the shape of ${JSON.stringify(name)} is not a list of sizes in bounds`);
    return { name, shape: shape as number[], elements: (shape as number[]).reduce((a, b) => a * b, 1) };
  });
  try {
    checkOrderedTable(table);
  } catch (cause) {
    throw bad((cause as Error).message, cause);
  }
  return { table, encoder: { mode, density, scaleUnit, scaleFactor } };
}

function isSize(value: unknown): boolean {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/** A map with exactly these keys. */
function fields<Key extends string>(value: unknown, keys: readonly Key[]): Record<Key, unknown> {
  if (
    !isRecord(value) ||
    Object.keys(value).length !== keys.length ||
    !keys.every((key) => Object.hasOwn(value, key))
  ) {
    throw bad(`a map must have exactly the keys ${keys.join(', ')}`);
  }
  return value as Record<Key, unknown>;
}

function bad(why: string, cause?: unknown): CodecError {
  return new CodecError('BAD_CONTAINER_HEADER', `The container's header is not valid: ${why}.`, {}, { cause });
}
