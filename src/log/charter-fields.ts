import { compareBytes } from './canonical.ts';
import type { Charter, CharterAdmission, CharterEncoder, CharterFile, CharterTensor } from './charter.ts';
import { FLOAT_DTYPES, isKnownDtype } from './dtypes.ts';
import { LogError } from './errors.ts';
import { checkAscending, checkBytes, checkList, checkNumber, checkUint, Fields } from './fields.ts';
import { checkPublicKey, PUBLIC_KEY_BYTES } from './keys.ts';
import { MAX_CONTENT_BYTES } from './manifest.ts';
import { MAX_RECIPE_UPDATES } from './recipe.ts';
import { MAX_SEQ } from './record-fields.ts';
import { checkFileName, checkFileNameOrder, compareCodePoints } from './text.ts';

/** Most tensors of a base. The largest published models have a few thousand. */
export const MAX_CHARTER_TENSORS = 65_536;
/** Most bytes of a tensor's name (UTF-8). */
export const MAX_TENSOR_NAME_BYTES = 1024;
/** Most dimensions of a tensor. */
export const MAX_TENSOR_DIMENSIONS = 8;
/** Most elements of a float tensor: positions in a payload fit a signed 32-bit integer. */
export const MAX_FLOAT_ELEMENTS = 2 ** 31 - 1;
/** Most elements of any other tensor, which is only copied. */
export const MAX_OTHER_ELEMENTS = 2 ** 38;
/** Most files beside the weights. */
export const MAX_SIDE_FILES = 256;
/** Most members of a list fixed at creation. */
export const MAX_MEMBERS = 65_536;
/** Most sealer keys. */
export const MAX_SEALERS = 64;
/** Most payload versions of a charter, and the largest of them. */
export const MAX_PAYLOAD_VERSIONS = 16;
export const MAX_PAYLOAD_VERSION = 255;
/** Largest scale factor: the grids in use end at 10. */
export const MAX_SCALE_FACTOR = 1000;
/** Largest finite float32: the largest scale that a payload can carry. */
const MAX_FLOAT32 = (2 - 2 ** -23) * 2 ** 127;

/** @throws LogError */
export function checkSealers(fields: Fields): Charter['sealers'] {
  fields.closed(['keys', 'threshold']);
  const keys = checkKeys(fields.list('keys', 0, MAX_SEALERS), 'charter.sealers.keys');
  const threshold = fields.uint('threshold', 0, MAX_SEALERS);
  if (keys.length === 0 ? threshold !== 0 : threshold < 1 || threshold > keys.length) {
    throw new LogError(
      'CHARTER_INVALID',
      `a sealing threshold of ${threshold} does not fit ${keys.length} sealer keys`,
      {
        threshold,
        keys: keys.length,
      },
    );
  }
  return { keys, threshold };
}

/** @throws LogError */
export function checkMembership(value: unknown): Charter['membership'] {
  if (value === 'open') return value;
  if (!Array.isArray(value)) {
    throw new LogError('WRONG_TYPE', 'charter.membership must be "open" or a list of keys', {
      field: 'charter.membership',
    });
  }
  return checkKeys(checkList(value, 'charter.membership', 1, MAX_MEMBERS), 'charter.membership');
}

/** @throws LogError */
export function checkBudgets(fields: Fields): Charter['budgets'] {
  fields.closed(['updates', 'bytes']);
  return { updates: fields.uint('updates', 1, MAX_SEQ), bytes: fields.uint('bytes', 1, Number.MAX_SAFE_INTEGER) };
}

/** @throws LogError */
export function checkAdmission(fields: Fields): CharterAdmission {
  fields.closed([
    'duplicate',
    'opposite',
    'kinship',
    'normRatio',
    'minReference',
    'maxNorm',
    'maxScale',
    'maxDensity',
    'maxPayloadBytes',
  ]);
  const tiny = Number.MIN_VALUE;
  const admission: CharterAdmission = {
    duplicate: fields.number('duplicate', -1, 1),
    opposite: fields.number('opposite', -1, 1),
    kinship: checkPair(fields, 'kinship', [-1, 1], [-1, 1]),
    normRatio: checkPair(fields, 'normRatio', [0, 1], [1, Number.MAX_VALUE]),
    minReference: fields.uint('minReference', 1, MAX_RECIPE_UPDATES),
    maxNorm: fields.number('maxNorm', tiny, Number.MAX_VALUE),
    maxScale: fields.number('maxScale', tiny, MAX_FLOAT32),
    maxDensity: fields.number('maxDensity', tiny, 1),
    maxPayloadBytes: fields.uint('maxPayloadBytes', 1, MAX_CONTENT_BYTES),
  };
  if (admission.opposite >= admission.duplicate) {
    throw new LogError('CHARTER_INVALID', 'admission.opposite must be below admission.duplicate', {});
  }
  return admission;
}

/** @throws LogError */
export function checkPayloadVersions(codec: Fields): readonly number[] {
  const versions = codec
    .list('payloadVersions', 1, MAX_PAYLOAD_VERSIONS)
    .map((version) => checkUint(version, 'charter.codec.payloadVersions', 1, MAX_PAYLOAD_VERSION));
  checkAscending(versions, 'charter.codec.payloadVersions', (a, b) => a - b);
  return versions;
}

/** @throws LogError */
export function checkEncoder(fields: Fields, { maxDensity }: CharterAdmission): CharterEncoder {
  fields.closed(['density', 'mode', 'scaleUnit', 'scaleFactor']);
  const encoder: CharterEncoder = {
    density: fields.number('density', Number.MIN_VALUE, 1),
    mode: oneOf(fields, 'mode', ['global', 'tensor']),
    scaleUnit: oneOf(fields, 'scaleUnit', ['deviation', 'magnitude']),
    scaleFactor: fields.number('scaleFactor', Number.MIN_VALUE, MAX_SCALE_FACTOR),
  };
  if (encoder.density > maxDensity) {
    const text = `codec.encoder.density ${encoder.density} is above admission.maxDensity ${maxDensity}: its own updates would be declined`;
    throw new LogError('CHARTER_INVALID', text, { density: encoder.density, maxDensity });
  }
  return encoder;
}

function oneOf<T extends string>(fields: Fields, key: string, values: readonly T[]): T {
  const text = fields.text(key, { minBytes: 1, maxBytes: 64 });
  const found = values.find((value) => value === text);
  if (found !== undefined) return found;
  throw new LogError('CHARTER_INVALID', `codec.encoder.${key} is ${values.join(' or ')}, not ${text}`, { value: text });
}

/** @throws LogError */
export function checkTensors(base: Fields): readonly CharterTensor[] {
  const tensors = base.list('tensors', 1, MAX_CHARTER_TENSORS).map((value) => checkTensor(value));
  checkAscending(tensors, 'charter.base.tensors', (a, b) => compareCodePoints(a.name, b.name));
  if (!tensors.some((tensor) => FLOAT_DTYPES.has(tensor.dtype) && elementsOf(tensor.shape) > 0)) {
    throw new LogError('CHARTER_INVALID', 'the base has no float tensor, so nothing could be merged', {});
  }
  return tensors;
}

/** @throws LogError */
export function checkSideFiles(base: Fields): readonly CharterFile[] {
  const files = base.list('sideFiles', 0, MAX_SIDE_FILES).map((value) => {
    const fields = new Fields(value, 'side file').closed(['name', 'size', 'sha256']);
    const name = checkFileName(fields.text('name', { minBytes: 1, maxBytes: 255 }), 'side file');
    // A merged checkpoint writes its weights under such names: a side file must not be able to replace them.
    if (/\.safetensors(?:\.index\.json)?$/i.test(name)) {
      throw new LogError('BAD_NAME', `${name} holds weights; list only the files beside them`, { name });
    }
    return { name, size: fields.uint('size', 0, MAX_CONTENT_BYTES), sha256: fields.bytes('sha256', 32) };
  });
  checkFileNameOrder(
    files.map((file) => file.name),
    'charter.base.sideFiles',
  );
  return files;
}

/** Product of a shape; 1 for a scalar. */
export function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function checkTensor(value: unknown): CharterTensor {
  const fields = new Fields(value, 'tensor').closed(['name', 'dtype', 'shape', 'linear', 'sha256']);
  const name = fields.text('name', { minBytes: 1, maxBytes: MAX_TENSOR_NAME_BYTES });
  const dtype = fields.text('dtype', { minBytes: 1, maxBytes: 16 });
  if (!isKnownDtype(dtype)) {
    throw new LogError('CHARTER_INVALID', `tensor ${name} has the unknown dtype ${dtype}`, { tensor: name, dtype });
  }
  const max = FLOAT_DTYPES.has(dtype) ? MAX_FLOAT_ELEMENTS : MAX_OTHER_ELEMENTS;
  const shape = fields
    .list('shape', 0, MAX_TENSOR_DIMENSIONS)
    .map((size) => checkUint(size, `shape of ${name}`, 0, MAX_OTHER_ELEMENTS));
  // Bounded step by step: eight factors could leave the range in which a float64 product is exact.
  let elements = 1;
  for (const size of shape) elements = checkUint(Math.min(elements * size, 2 ** 52), `elements of ${name}`, 0, max);
  const linear = fields.boolean('linear');
  if (linear && !(FLOAT_DTYPES.has(dtype) && shape.length === 2)) {
    throw new LogError('CHARTER_INVALID', `tensor ${name} is no float matrix and cannot be linear`, { tensor: name });
  }
  return { name, dtype, shape, linear, sha256: checkBytes(fields.raw('sha256'), `sha256 of ${name}`, 32) };
}

/** Usable keys, ascending, each once. @throws LogError */
export function checkKeys(values: readonly unknown[], field: string): readonly Uint8Array[] {
  const keys = values.map((value) => checkPublicKey(checkBytes(value, field, PUBLIC_KEY_BYTES), field));
  checkAscending(keys, field, compareBytes);
  return keys;
}

/** Two numbers, each in its own range, that do not descend. */
function checkPair(
  fields: Fields,
  key: string,
  lowRange: readonly [number, number],
  highRange: readonly [number, number],
): readonly [number, number] {
  const pair = fields.list(key, 2, 2);
  const low = checkNumber(pair[0], `admission.${key}[0]`, ...lowRange);
  const high = checkNumber(pair[1], `admission.${key}[1]`, ...highRange);
  if (key === 'kinship' && low >= high) {
    throw new LogError('CHARTER_INVALID', `admission.${key} must ascend: ${low} is not below ${high}`, { low, high });
  }
  return [low, high];
}
