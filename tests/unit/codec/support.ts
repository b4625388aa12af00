import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, onTestFinished } from 'vitest';
import { formatHeader, formatSection } from '../../../src/codec/format.ts';
import {
  CodecError,
  checkPayload,
  type FloatSource,
  isPayloadFault,
  type LowRankTensor,
  openPayload,
  type PayloadSource,
  type SectionCoding,
  type SignMasks,
  type TensorTable,
  type TernaryTensor,
  tableOf,
  ternaryFromSigns,
  type UpdateSection,
  type UpdateTensor,
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

/** A checkpoint given as arrays, which a file of float32 holds as soon as one is asked for; it counts its reads. */
export class MemorySource implements FloatSource {
  readonly tensors = new Map<string, { name: string; dtype: string; shape: readonly number[]; elements: number }>();
  readonly #values = new Map<string, Float32Array>();
  #file: string | undefined;
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

  place(name: string): { path: string; offset: number; byteLength: number; dtype: string } {
    this.reads++;
    this.#file ??= writeArrays([...this.#values.values()]);
    const names = [...this.#values.keys()];
    const before = names.slice(0, names.indexOf(name));
    const offset = before.reduce((sum, other) => sum + this.#values.get(other)!.byteLength, 0);
    return { path: this.#file, offset, byteLength: this.#values.get(name)!.byteLength, dtype: 'F32' };
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

const arrayDirectories: string[] = [];
process.once('exit', () => {
  for (const directory of arrayDirectories) rmSync(directory, { recursive: true, force: true });
});

/** One file of all the arrays, in a directory that is removed when the process ends. */
function writeArrays(arrays: readonly Float32Array[]): string {
  const directory = mkdtempSync(join(tmpdir(), 'kinmerge-arrays-'));
  arrayDirectories.push(directory);
  const path = join(directory, 'values');
  writeFileSync(
    path,
    Buffer.concat(arrays.map(({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength))),
  );
  return path;
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

/** What a random low-rank tensor is to be like. */
export interface LowRankShape {
  readonly rows: number;
  readonly columns: number;
  readonly rank: number;
  /** Share of the factors' entries that are not 0; one is set where it would be none. */
  readonly density: number;
  readonly scale?: number;
  readonly random: () => number;
}

export function lowRank(
  index: number,
  { rows, columns, rank, density, scale = 0.5, random }: LowRankShape,
): LowRankTensor {
  const factor = (elements: number): SignMasks => {
    const signs = Int8Array.from({ length: elements }, () => (random() >= density ? 0 : random() < 0.5 ? -1 : 1));
    if (signs.every((sign) => sign === 0)) signs[Math.floor(random() * elements)] = 1;
    const { plus, minus, nnz } = ternary(index, signs);
    return { plus, minus, nnz };
  };
  return {
    form: 'low-rank',
    index,
    elements: rows * columns,
    scale,
    rows,
    columns,
    rank,
    left: factor(rows * rank),
    right: factor(rank * columns),
  };
}

/** The integers of a tensor by the definition of a matrix product: three loops over single bits. */
export function integersOf(t: UpdateTensor): Int16Array {
  const bit = (mask: Uint32Array, i: number) => (mask[i >>> 5]! >>> (i & 31)) & 1;
  const sign = ({ plus, minus }: SignMasks, i: number) => bit(plus, i) - bit(minus, i);
  if (t.form !== 'low-rank') return Int16Array.from({ length: t.elements }, (_, i) => sign(t, i));
  const integers = new Int16Array(t.elements);
  for (let i = 0; i < t.rows; i++) {
    for (let j = 0; j < t.columns; j++) {
      for (let k = 0; k < t.rank; k++) {
        integers[i * t.columns + j]! += sign(t.left, i * t.rank + k) * sign(t.right, k * t.columns + j);
      }
    }
  }
  return integers;
}

/** How a section is coded, in a word. */
export function codingOf(section: UpdateSection): 'golomb' | 'flat' | 'rows' | 'low-rank' {
  if (section.form === 'low-rank') return 'low-rank';
  if (section.model === undefined) return 'golomb';
  return section.model.width === 0 ? 'flat' : 'rows';
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

export async function readAll(source: PayloadSource, table: TensorTable): Promise<UpdateTensor[]> {
  const reader = await openPayload(source, table);
  try {
    const tensors: UpdateTensor[] = [];
    for await (const tensor of reader.tensors()) tensors.push(tensor);
    return tensors;
  } finally {
    await reader.close();
  }
}

/** The tensors of a payload that has ternary ones alone. */
export async function decodeAll(source: PayloadSource, table: TensorTable): Promise<TernaryTensor[]> {
  return (await readAll(source, table)).map((tensor) => {
    if (tensor.form === 'low-rank') expect.fail(`tensor ${tensor.index} is low-rank`);
    return tensor;
  });
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

/** The code of a payload's failure, the same from memory, from a file, and while decoding. */
export async function fault(bytes: Uint8Array, table: TensorTable): Promise<string> {
  const path = join(await temporaryDirectory(), 'payload');
  await writeFile(path, bytes);
  const errors = [
    await failure(checkPayload(bytes, table)),
    await failure(checkPayload(path, table)),
    await failure(readAll(bytes, table)),
    await failure(readAll(path, table)),
  ];
  expect(new Set(errors.map((e) => `${e.code} ${e.message}`)).size).toBe(1);
  expect(errors.every(isPayloadFault)).toBe(true);
  return errors[0]!.code;
}

/** The low-rank tensor of the format document's example. */
export const DOCUMENT_LOW_RANK: LowRankTensor = {
  form: 'low-rank',
  index: 0,
  elements: 16,
  scale: 0.5,
  rows: 4,
  columns: 4,
  rank: 2,
  left: { plus: Uint32Array.of(0b100_0011), minus: Uint32Array.of(0b1000), nnz: 4 },
  right: { plus: Uint32Array.of(0b1_0001), minus: Uint32Array.of(0b1000_0100), nnz: 4 },
};

/** A varint of the payload format; bytes given as an array stand for themselves, for lies no number has. */
export function varint(value: number | number[]): number[] {
  if (Array.isArray(value)) return value;
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return [...bytes, rest];
}

/** The bytes of a 32-bit float, little-endian. */
export function float(value: number): number[] {
  return [...new Uint8Array(Float32Array.of(value).buffer)];
}
