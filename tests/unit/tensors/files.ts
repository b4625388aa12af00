import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import { KinmergeError } from '../../../src/errors.ts';

const dirs: string[] = [];

/** A fresh directory, removed after the test. */
export async function tempDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'kinmerge-tensors-'));
  dirs.push(dir);
  return dir;
}

afterEach(async () => {
  for (const dir of dirs.splice(0)) await rm(dir, { recursive: true, force: true });
});

/** The bytes of a file: length field, header, data. `length` overrides the length field. */
export function fileBytes(header: string | Uint8Array, data: number | Uint8Array = 0, length?: bigint): Uint8Array {
  const head = typeof header === 'string' ? Buffer.from(header) : header;
  const field = Buffer.alloc(8);
  field.writeBigUInt64LE(length ?? BigInt(head.byteLength));
  return Buffer.concat([field, head, typeof data === 'number' ? Buffer.alloc(data) : data]);
}

/** One header entry as JSON text. */
export function entry(name: string, dtype: string, shape: readonly number[], begin: number, end: number): string {
  return `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${begin},${end}]}`;
}

/** Writes bytes into a fresh directory and gives the path. */
export async function tempFile(bytes: Uint8Array | string, name = 'x.safetensors'): Promise<string> {
  const path = join(await tempDir(), name);
  await writeFile(path, bytes);
  return path;
}

/** A valid file with one F32 tensor. */
export function f32File(name: string, values: readonly number[]): Uint8Array {
  const data = new Uint8Array(Float32Array.from(values).buffer);
  return fileBytes(`{${entry(name, 'F32', [values.length], 0, data.byteLength)}}`, data);
}

/** The coded error that a call ends with. */
export async function failure(call: () => unknown): Promise<KinmergeError> {
  try {
    await call();
  } catch (error) {
    if (error instanceof KinmergeError) return error;
    throw new Error('expected a coded error', { cause: error });
  }
  throw new Error('expected an error');
}
