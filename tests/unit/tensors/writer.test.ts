import { readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { SafeTensor } from 'safetensors';
import { describe, expect, test } from 'vitest';
import {
  createSafetensors,
  type Dtype,
  MAX_HEADER_BYTES,
  MAX_NAME_BYTES,
  MAX_RANK,
  MAX_TENSORS,
  openCheckpoint,
  type TensorPlan,
} from '../../../src/tensors/index.ts';
import { failure, tempDir } from './files.ts';

const BASE = join(import.meta.dirname, '../../fixtures/vision8/base.safetensors');

const plan = (name: string, dtype: Dtype = 'F32', shape: readonly number[] = [1]): TensorPlan => ({
  name,
  dtype,
  shape,
});

async function target(): Promise<string> {
  return join(await tempDir(), 'out.safetensors');
}

/** Writes zeros everywhere and gives the header text. */
async function headerOf(tensors: readonly TensorPlan[], metadata?: Record<string, string>): Promise<string> {
  const path = await target();
  const writer = await createSafetensors(path, tensors, metadata ? { metadata } : {});
  for (const info of writer.tensors) await writer.write(info.name, new Uint8Array(info.byteLength));
  await writer.commit();
  const bytes = await readFile(path);
  const length = Number(bytes.readBigUInt64LE(0));
  expect(length % 8).toBe(0);
  return bytes.toString('utf8', 8, 8 + length);
}

describe('the bytes written', () => {
  test('equal those of the reference implementation for the same tensors', async () => {
    const base = await openCheckpoint(BASE);
    const path = await target();
    const metadata = Object.fromEntries(base.metadata);
    const writer = await createSafetensors(path, [...base.tensors.values()].reverse(), { metadata });
    for (const { name } of writer.tensors) await writer.writeChunks(name, base.chunks(name, { chunkBytes: 4096 }));
    await writer.commit();
    await base.close();
    expect(Buffer.compare(await readFile(path), await readFile(BASE))).toBe(0);
  });

  test('have the largest alignment first, then names in code-point order, and sorted metadata', async () => {
    const tensors = [
      plan('b', 'U8'),
      plan('\u{1f600}', 'F32'),
      plan('\uff5e', 'F32'),
      plan('a', 'BF16'),
      plan('c', 'F16'),
      plan('d', 'I64'),
      plan('e', 'F64'),
      plan('f', 'BOOL'),
    ];
    const text = await headerOf(tensors, { z: '1', a: '2' });
    expect(text.trimEnd()).toBe(
      '{"__metadata__":{"a":"2","format":"pt","z":"1"},' +
        '"d":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},' +
        '"e":{"dtype":"F64","shape":[1],"data_offsets":[8,16]},' +
        '"\uff5e":{"dtype":"F32","shape":[1],"data_offsets":[16,20]},' +
        '"\u{1f600}":{"dtype":"F32","shape":[1],"data_offsets":[20,24]},' +
        '"a":{"dtype":"BF16","shape":[1],"data_offsets":[24,26]},' +
        '"c":{"dtype":"F16","shape":[1],"data_offsets":[26,28]},' +
        '"b":{"dtype":"U8","shape":[1],"data_offsets":[28,29]},' +
        '"f":{"dtype":"BOOL","shape":[1],"data_offsets":[29,30]}}',
    );
    expect(await headerOf([...tensors].reverse(), { a: '2', z: '1' })).toBe(text);
  });

  test('always say format pt', async () => {
    expect(await headerOf([])).toContain('"format":"pt"');
    expect(await headerOf([], { format: 'np' })).toContain('"format":"pt"');
  });

  test('hold any name and text, which come back', async () => {
    const names = ['', '"\\/\b\n', '__proto__', '\u0000', 'é😀', '../x'];
    const metadata = { recipe: '{"a":["\\"\\n"]}', 'k"': '\u2028' };
    const path = await target();
    const writer = await createSafetensors(
      path,
      names.map((name) => plan(name)),
      { metadata },
    );
    for (const [i, name] of names.entries()) await writer.write(name, new Uint8Array(Float32Array.of(i).buffer));
    await writer.commit();
    const checkpoint = await openCheckpoint(path);
    for (const [i, name] of names.entries()) expect([...(await checkpoint.readFloat32(name))]).toEqual([i]);
    expect(Object.fromEntries(checkpoint.metadata)).toEqual({ ...metadata, format: 'pt' });
    await checkpoint.close();
  });

  test('are read by the npm package safetensors, an independent reader', async () => {
    const path = await target();
    const values = { w: Float32Array.of(1.5, -2, 3e-8), n: BigInt64Array.of(-1n, 2n ** 40n) };
    const writer = await createSafetensors(path, [plan('w', 'F32', [3, 1]), plan('n', 'I64', [2])]);
    await writer.write('w', new Uint8Array(values.w.buffer));
    await writer.write('n', new Uint8Array(values.n.buffer));
    await writer.commit();
    const bytes = await readFile(path);
    // That package takes every member for a tensor and stops at __metadata__: spaces of the same length stand in.
    const member = '"__metadata__":{"format":"pt"},';
    const at = bytes.indexOf(member);
    expect(at).toBe(9);
    bytes.fill(0x20, at, at + member.length);
    const reader = new SafeTensor(new Uint8Array(bytes));
    expect([...reader.metadata.keys()].sort()).toEqual(['n', 'w']);
    expect(reader.metadata.get('w')).toMatchObject({ dtype: 'F32', shape: [3, 1] });
    expect(Buffer.compare(reader.getTensor('w'), new Uint8Array(values.w.buffer))).toBe(0);
    expect(Buffer.compare(reader.getTensor('n'), new Uint8Array(values.n.buffer))).toBe(0);
  });
});

describe('a writer', () => {
  test('shows nothing before commit and replaces the old file then', async () => {
    const path = await target();
    await writeFile(path, 'old');
    const writer = await createSafetensors(path, [plan('a')]);
    await writer.write('a', new Uint8Array(4));
    expect(await readFile(path, 'utf8')).toBe('old');
    await writer.commit();
    await writer.abort();
    expect(await readdir(dirname(path))).toEqual(['out.safetensors']);
    await (await openCheckpoint(path)).close();
  });

  test('leaves nothing after abort', async () => {
    const path = await target();
    const writer = await createSafetensors(path, [plan('a')]);
    await writer.write('a', new Uint8Array(4));
    await writer.abort();
    await writer.abort();
    expect(await readdir(dirname(path))).toEqual([]);
    expect((await failure(() => writer.write('a', new Uint8Array(4)))).code).toBe('CLOSED');
    expect((await failure(() => writer.commit())).code).toBe('CLOSED');
  });

  test('refuses to commit without every tensor, and goes on when it comes', async () => {
    const path = await target();
    const writer = await createSafetensors(path, [plan('a'), plan('b')]);
    await writer.write('b', new Uint8Array(4));
    const error = await failure(() => writer.commit());
    expect([error.code, error.fields.tensor]).toEqual(['TENSOR_MISSING', 'a']);
    await writer.write('a', new Uint8Array(4));
    await writer.commit();
  });

  test('refuses a wrong length, a second time and an unplanned tensor', async () => {
    const path = await target();
    const writer = await createSafetensors(path, [plan('a', 'F32', [2]), plan('b')]);
    expect((await failure(() => writer.write('a', new Uint8Array(7)))).code).toBe('WRONG_LENGTH');
    expect((await failure(() => writer.write('a', new Uint8Array(9)))).code).toBe('WRONG_LENGTH');
    expect((await failure(() => writer.writeChunks('a', [new Uint8Array(8), new Uint8Array(1)]))).code).toBe(
      'WRONG_LENGTH',
    );
    expect((await failure(() => writer.commit())).code).toBe('TENSOR_MISSING');
    await writer.writeChunks('a', [new Uint8Array(3).fill(1), new Uint8Array(0), new Uint8Array(5).fill(2)]);
    expect((await failure(() => writer.write('a', new Uint8Array(8)))).code).toBe('ALREADY_WRITTEN');
    expect((await failure(() => writer.write('c', new Uint8Array(8)))).code).toBe('UNKNOWN_TENSOR');
    await writer.write('b', new Uint8Array(4).fill(3));
    await writer.commit();
    const checkpoint = await openCheckpoint(path);
    expect([...(await checkpoint.readRaw('a'))]).toEqual([1, 1, 1, 2, 2, 2, 2, 2]);
    expect([...(await checkpoint.readRaw('b'))]).toEqual([3, 3, 3, 3]);
    await checkpoint.close();
  });

  test('stops at an abort signal', async () => {
    const writer = await createSafetensors(await target(), [plan('a')]);
    const signal = AbortSignal.abort();
    await expect(writer.writeChunks('a', [new Uint8Array(4)], { signal })).rejects.toThrow(
      expect.objectContaining({ name: 'AbortError' }),
    );
    await writer.abort();
  });

  test.each([
    ['a name twice', [plan('a'), plan('b'), plan('a', 'U8')], 'DUPLICATE_TENSOR'],
    ['__metadata__ as a name', [plan('__metadata__')], 'INVALID_NAME'],
    ['half a surrogate pair', [plan('\ud800')], 'INVALID_NAME'],
    ['a long name', [plan('é'.repeat(MAX_NAME_BYTES / 2 + 1))], 'NAME_TOO_LONG'],
    ['many dimensions', [plan('a', 'F32', new Array(MAX_RANK + 1).fill(1))], 'TOO_MANY_DIMENSIONS'],
    ['a negative dimension', [plan('a', 'F32', [-1])], 'NUMBER_FORM'],
    ['half a dimension', [plan('a', 'F32', [0.5])], 'NUMBER_FORM'],
    ['too large a shape', [plan('a', 'F32', [2 ** 31, 2 ** 31])], 'SIZE_OVERFLOW'],
    ['too much together', [plan('a', 'U8', [2 ** 53 - 1]), plan('b', 'U8')], 'SIZE_OVERFLOW'],
    ['a dtype that is none', [plan('a', 'F4' as Dtype)], 'UNKNOWN_DTYPE'],
    ['too many tensors', new Array(MAX_TENSORS + 1).fill(plan('a')), 'TOO_MANY_TENSORS'],
  ])('is not made for %s', async (_what, tensors, code) => {
    const path = await target();
    expect((await failure(() => createSafetensors(path, tensors))).code).toBe(code);
    expect(await readdir(dirname(path))).toEqual([]);
  });

  test('is not made for a header above the cap, or metadata that is not text', async () => {
    const path = await target();
    const big = { big: 'x'.repeat(MAX_HEADER_BYTES) };
    expect((await failure(() => createSafetensors(path, [], { metadata: big }))).code).toBe('HEADER_TOO_LARGE');
    const half = { half: '\udc00' };
    expect((await failure(() => createSafetensors(path, [], { metadata: half }))).code).toBe('METADATA_INVALID');
    expect(await readdir(dirname(path))).toEqual([]);
  });

  test('is not made where there is no directory', async () => {
    const error = await failure(async () => createSafetensors(join(await tempDir(), 'no', 'x.safetensors'), []));
    expect(error.code).toBe('NOT_FOUND');
  });
});
