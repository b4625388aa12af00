import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, onTestFinished } from 'vitest';
import { formatHeader, formatSection } from '../../../src/codec/format.ts';
import {
  CodecError,
  type FloatSource,
  openPayload,
  type PayloadSource,
  type SectionCoding,
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

/** A table of tensors of these shapes. */
export function tableOfShapes(...shapes: (readonly number[])[]): TensorTable {
  return shapes.map((shape, i) => ({
    name: `t${String(i).padStart(5, '0')}`,
    shape,
    elements: shape.reduce((a, b) => a * b, 1),
  }));
}

/** Shares from 0 to 1, evenly: `fc.double` draws bit patterns evenly, so almost only tiny numbers. */
export const share = fc.integer({ min: 0, max: 1000 }).map((thousandths) => thousandths / 1000);

/** Uniform numbers in [0, 1), the same on every machine. */
export function randomNumbers(seed: number): () => number {
  let a = seed | 0 || 1;
  return () => {
    a ^= a << 13;
    a ^= a >>> 17;
    a ^= a << 5;
    return (a >>> 0) / 2 ** 32;
  };
}

/** Signs whose density differs by row and column: from almost none to almost all, `density` in the middle. */
export function bandedSigns(elements: number, width: number, density: number, seed: number): Int8Array {
  const random = randomNumbers(seed);
  const factor = () => {
    const r = random();
    return 3 * r * r;
  };
  const columns = Float64Array.from({ length: width }, factor);
  let row = 0;
  return Int8Array.from({ length: elements }, (_, i) => {
    if (i % width === 0) row = factor();
    if (random() >= density * row * columns[i % width]!) return 0;
    return random() < 0.5 ? -1 : 1;
  });
}

/** A payload of one tensor, coded as a test wishes. */
export function payloadOf(t: TernaryTensor, coding: SectionCoding, code: Uint8Array): Uint8Array {
  return new Uint8Array(Buffer.concat([formatHeader(1, t.scale), formatSection(t, coding, false, code.length), code]));
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
