import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import {
  CodecError,
  type FloatSource,
  openPayload,
  type PayloadSource,
  type TensorTable,
  type TernaryTensor,
  tableOf,
  ternaryFromSigns,
} from '../../../src/codec/index.ts';

export const FIXTURES = new URL('../../fixtures/', import.meta.url);

/** Tensors of a safetensors file, whole in memory: what a fixture needs, and independent of src/tensors. */
export function readFixture(name: string): Map<string, { shape: number[]; values: Float32Array | Int8Array }> {
  const bytes = readFileSync(new URL(name, FIXTURES));
  const length = Number(bytes.readBigUInt64LE(0));
  const header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> = JSON.parse(
    bytes.toString('utf8', 8, 8 + length),
  );
  const tensors = new Map<string, { shape: number[]; values: Float32Array | Int8Array }>();
  for (const [tensor, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (tensor === '__metadata__') continue;
    const data = Uint8Array.from(bytes.subarray(8 + length + data_offsets[0], 8 + length + data_offsets[1])).buffer;
    tensors.set(tensor, { shape, values: dtype === 'I8' ? new Int8Array(data) : new Float32Array(data) });
  }
  return tensors;
}

export interface MemoryTensor {
  readonly shape: readonly number[];
  readonly values: Float32Array;
  readonly dtype?: string;
}

/** A checkpoint in memory that counts its reads. */
export class MemorySource implements FloatSource {
  readonly tensors = new Map<string, { name: string; dtype: string; shape: readonly number[]; elements: number }>();
  readonly #values = new Map<string, Float32Array>();
  reads = 0;

  constructor(tensors: Iterable<readonly [string, MemoryTensor]>) {
    for (const [name, { shape, values, dtype = 'F32' }] of tensors) {
      this.tensors.set(name, { name, dtype, shape, elements: values.length });
      this.#values.set(name, values);
    }
  }

  async readFloat32(name: string): Promise<Float32Array> {
    this.reads++;
    return this.#values.get(name)!.slice();
  }

  /** The same tensors, all zero: the base of which this source is the task vector. */
  zeros(): MemorySource {
    return new MemorySource(
      [...this.tensors].map(([name, { shape, elements }]) => [name, { shape, values: new Float32Array(elements) }]),
    );
  }

  table(): TensorTable {
    return tableOf(this);
  }
}

/** A source of vectors given as plain numbers, by name. */
export function sourceOf(tensors: Record<string, readonly number[]>): MemorySource {
  return new MemorySource(
    Object.entries(tensors).map(([name, values]) => [
      name,
      { shape: [values.length], values: Float32Array.from(values) },
    ]),
  );
}

export function tableFor(...sizes: number[]): TensorTable {
  return sizes.map((elements, i) => ({ name: `t${String(i).padStart(5, '0')}`, shape: [elements], elements }));
}

export function ternary(index: number, signs: ArrayLike<number>, scale = 0.5): TernaryTensor {
  return ternaryFromSigns(index, signs, scale)!;
}

export function signsOf(t: TernaryTensor): Int8Array {
  const signs = new Int8Array(t.elements);
  for (let i = 0; i < t.elements; i++) {
    signs[i] = ((t.plus[i >>> 5]! >>> (i & 31)) & 1) - ((t.minus[i >>> 5]! >>> (i & 31)) & 1);
  }
  return signs;
}

export async function decodeAll(source: PayloadSource, table: TensorTable): Promise<TernaryTensor[]> {
  const reader = await openPayload(source, table);
  try {
    const tensors: TernaryTensor[] = [];
    for await (const tensor of reader.tensors()) tensors.push(tensor);
    return tensors;
  } finally {
    await reader.close();
  }
}

/** A directory that is removed when the test ends. */
export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'kinmerge-codec-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

export async function failure(promise: Promise<unknown>): Promise<CodecError> {
  const error = await promise.then(
    () => expect.fail('expected a CodecError'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(CodecError);
  return error as CodecError;
}
