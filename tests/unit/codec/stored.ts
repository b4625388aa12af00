import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FloatSource } from '../../../src/codec/index.ts';
import { type Dtype, dtypeBytes, type FloatDtype, narrow, widen } from '../../../src/tensors/index.ts';
import { randomNumbers, temporaryDirectory } from './support.ts';

export const FLOATS: readonly FloatDtype[] = ['F32', 'F16', 'BF16', 'F8_E4M3', 'F8_E5M2', 'F64'];

/** The stored elements of one tensor. */
export interface StoredTensor {
  readonly dtype: Dtype;
  readonly bytes: Uint8Array;
  /** Default: one dimension. */
  readonly shape?: readonly number[];
}

/** A checkpoint of given bytes in a file. The first tensor begins after `lead` bytes, so that none need be aligned. */
export class StoredSource implements FloatSource {
  readonly tensors = new Map<
    string,
    { name: string; dtype: Dtype; shape: readonly number[]; elements: number; offset: number; byteLength: number }
  >();
  readonly path: string;

  private constructor(path: string, tensors: Readonly<Record<string, StoredTensor>>, lead: number) {
    this.path = path;
    let offset = lead;
    for (const [name, { dtype, bytes, shape }] of Object.entries(tensors)) {
      const elements = bytes.length / dtypeBytes(dtype);
      const { length: byteLength } = bytes;
      this.tensors.set(name, { name, dtype, shape: shape ?? [elements], elements, offset, byteLength });
      offset += byteLength;
    }
    writeFileSync(path, Buffer.concat([Buffer.alloc(lead, 0xff), ...Object.values(tensors).map(({ bytes }) => bytes)]));
  }

  static async create(tensors: Readonly<Record<string, StoredTensor>>, lead = 0): Promise<StoredSource> {
    return new StoredSource(join(await temporaryDirectory(), 'tensors'), tensors, lead);
  }

  place(name: string) {
    const { offset, byteLength, dtype } = this.tensors.get(name)!;
    return { path: this.path, offset, byteLength, dtype };
  }
}

/** `fround(fine-tune - base)` of two tensors of stored elements; without a base, the fine-tune. */
export function differenceOf(base: StoredTensor | null, tune: StoredTensor): Float32Array {
  const values = widen(tune.bytes, tune.dtype);
  if (base === null) return values;
  const before = widen(base.bytes, base.dtype);
  return values.map((value, i) => value - before[i]!);
}

/** Elements of a dtype in a heavy-tailed law, some of them 0, many of them equal; all finite. */
export function randomTensor(dtype: FloatDtype, elements: number, seed: number): StoredTensor {
  const random = randomNumbers(seed);
  const values = Float64Array.from({ length: elements }, () => {
    const r = random();
    if (r < 0.05) return random() < 0.5 ? 0 : -0;
    const magnitude = r < 0.2 ? 0.5 : 2 ** (6 * random() - 4);
    return random() < 0.5 ? -magnitude : magnitude;
  });
  // Of float64 the values are not such of float32.
  const bytes = dtype === 'F64' ? new Uint8Array(values.buffer) : narrow(Float32Array.from(values), dtype);
  return { dtype, bytes };
}

/** Every code of a dtype of at most 16 bits once, but those that are no finite number. */
export function allFiniteCodes(dtype: FloatDtype): StoredTensor {
  const { bytes } = allCodes(dtype);
  const size = dtypeBytes(dtype);
  const finite = [...widen(bytes, dtype).entries()].filter(([, value]) => Number.isFinite(value));
  return { dtype, bytes: Buffer.concat(finite.map(([i]) => bytes.subarray(i * size, (i + 1) * size))) };
}

/** Every code of a dtype of at most 16 bits once. */
export function allCodes(dtype: FloatDtype): StoredTensor {
  const bytes =
    dtypeBytes(dtype) === 1
      ? Uint8Array.from({ length: 256 }, (_, code) => code)
      : new Uint8Array(Uint16Array.from({ length: 65_536 }, (_, code) => code).buffer);
  return { dtype, bytes };
}
