import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DEFAULT_CHUNK_BYTES, MAX_TENSOR_BYTES, narrow, openCheckpoint } from '../../../src/tensors/index.ts';
import { entry, f32File, failure, fileBytes, tempDir, tempFile } from './files.ts';

const VISION8 = join(import.meta.dirname, '../../fixtures/vision8');

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return all;
}

describe('the vision8 base', () => {
  test('opens with the tensors of its description', async () => {
    const checkpoint = await openCheckpoint(join(VISION8, 'base.safetensors'));
    expect(checkpoint.tensors.size).toBe(53);
    const elements = [...checkpoint.tensors.values()].reduce((sum, info) => sum + info.elements, 0);
    expect(elements).toBe(453_888);
    expect(checkpoint.metadata.get('format')).toBe('pt');
    expect(checkpoint.tensors.get('patch_embed.weight')?.dtype).toBe('F32');
    await checkpoint.close();
  });

  test('gives the values that lie in the file, whole, raw and in chunks', async () => {
    const bytes = await readFile(join(VISION8, 'base.safetensors'));
    const length = Number(bytes.readBigUInt64LE(0));
    // Python wrote this header: JSON.parse is an independent reader of it.
    const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<
      string,
      { data_offsets: [number, number] }
    >;
    const checkpoint = await openCheckpoint(join(VISION8, 'base.safetensors'));
    for (const name of checkpoint.tensors.keys()) {
      const [begin, end] = header[name]!.data_offsets;
      const raw = new Uint8Array(bytes.subarray(8 + length + begin, 8 + length + end));
      expect(Buffer.compare(await checkpoint.readRaw(name), raw)).toBe(0);
      expect(Buffer.compare(narrow(await checkpoint.readFloat32(name), 'F32'), raw)).toBe(0);
      expect(Buffer.compare(Buffer.concat(await collect(checkpoint.chunks(name, { chunkBytes: 10_000 }))), raw)).toBe(
        0,
      );
    }
    await checkpoint.close();
  });

  test('images are U8: raw bytes, no float values', async () => {
    const checkpoint = await openCheckpoint(join(VISION8, 'test-mnist.safetensors'));
    expect((await checkpoint.readRaw('labels')).byteLength).toBe(1000);
    expect((await failure(() => checkpoint.readFloat32('images'))).code).toBe('NOT_FLOAT');
    await checkpoint.close();
  });
});

describe('reading', () => {
  test('chunks hold whole elements, are fresh memory, and end with the rest', async () => {
    const values = Float32Array.from({ length: 10 }, (_, i) => i);
    const checkpoint = await openCheckpoint(await tempFile(f32File('a', [...values])));
    const sizes = async (chunkBytes: number) =>
      (await collect(checkpoint.chunks('a', { chunkBytes }))).map((chunk) => chunk.byteLength);
    expect(await sizes(16)).toEqual([16, 16, 8]);
    expect(await sizes(15)).toEqual([8, 8, 8, 8, 8]);
    expect(await sizes(1)).toEqual([8, 8, 8, 8, 8]);
    expect(await sizes(DEFAULT_CHUNK_BYTES)).toEqual([40]);
    const chunks = await collect(checkpoint.chunks('a', { chunkBytes: 16 }));
    expect(new Set(chunks.map((chunk) => chunk.buffer)).size).toBe(3);
    await checkpoint.close();
  });

  test('every float dtype, at a byte offset that is not aligned, over several chunks', async () => {
    const values = Float32Array.from({ length: 400_000 }, (_, i) => (i % 2001) / 8 - 125);
    for (const dtype of ['F16', 'BF16', 'F32', 'F64'] as const) {
      const small = dtype === 'BF16' ? values.map((value) => Math.round(value)) : values;
      const data = narrow(small, dtype);
      const end = 1 + data.byteLength;
      const header = `{${entry('pad', 'U8', [1], 0, 1)},${entry('v', dtype, [values.length], 1, end)}}`;
      const checkpoint = await openCheckpoint(
        await tempFile(fileBytes(header, Buffer.concat([Buffer.alloc(1), data]))),
      );
      expect(Buffer.compare(narrow(await checkpoint.readFloat32('v'), 'F32'), narrow(small, 'F32'))).toBe(0);
      expect(Buffer.compare(await checkpoint.readRaw('v'), data)).toBe(0);
      await checkpoint.close();
    }
  });

  test('a tensor of size zero and a scalar', async () => {
    const header = `{${entry('none', 'F16', [3, 0], 0, 0)},${entry('one', 'F64', [], 0, 8)}}`;
    const data = new Uint8Array(Float64Array.of(2.5).buffer);
    const checkpoint = await openCheckpoint(await tempFile(fileBytes(header, data)));
    expect((await checkpoint.readFloat32('none')).length).toBe(0);
    expect(await collect(checkpoint.chunks('none'))).toEqual([]);
    expect([...(await checkpoint.readFloat32('one'))]).toEqual([2.5]);
    await checkpoint.close();
  });

  test('an unknown name, also one of Object.prototype', async () => {
    const checkpoint = await openCheckpoint(await tempFile(f32File('a', [1])));
    for (const name of ['b', 'toString', '__proto__']) {
      expect((await failure(() => checkpoint.readRaw(name))).code).toBe('UNKNOWN_TENSOR');
      expect((await failure(() => collect(checkpoint.chunks(name)))).code).toBe('UNKNOWN_TENSOR');
    }
    await checkpoint.close();
  });

  test('of a place by other means gives the same bytes, in a lone file and in shards', async () => {
    const dir = await tempDir();
    const [first, second] = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;
    const header = `{${entry('pad', 'U8', [1], 0, 1)},${entry('a', 'F16', [3], 1, 7)}}`;
    await writeFile(join(dir, first), fileBytes(header, Uint8Array.of(9, 1, 2, 3, 4, 5, 6)));
    await writeFile(join(dir, second), f32File('b', [7, 8]));
    const weights: Record<string, string> = { pad: first, a: first, b: second };
    await writeFile(join(dir, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weights }));
    const checkpoint = await openCheckpoint(dir);
    for (const [name, { dtype, byteLength }] of checkpoint.tensors) {
      const place = checkpoint.place(name);
      expect([place.path, place.dtype, place.byteLength]).toEqual([join(dir, weights[name]!), dtype, byteLength]);
      const bytes = await readFile(place.path);
      const part = bytes.subarray(place.offset, place.offset + place.byteLength);
      expect(Buffer.compare(part, await checkpoint.readRaw(name))).toBe(0);
    }
    expect((await failure(() => checkpoint.place('toString'))).code).toBe('UNKNOWN_TENSOR');
    await checkpoint.close();
    expect((await failure(() => checkpoint.place('a'))).code).toBe('CLOSED');
  });

  test('after close', async () => {
    const checkpoint = await openCheckpoint(await tempFile(f32File('a', [1])));
    await checkpoint.close();
    await checkpoint.close();
    expect((await failure(() => checkpoint.readFloat32('a'))).code).toBe('CLOSED');
  });

  test('a file that becomes shorter under an open checkpoint', async () => {
    const path = await tempFile(f32File('a', [1, 2, 3, 4]));
    const checkpoint = await openCheckpoint(path);
    await truncate(path, f32File('a', [1, 2, 3, 4]).byteLength - 4);
    expect((await failure(() => checkpoint.readFloat32('a'))).code).toBe('FILE_CHANGED');
    await checkpoint.close();
  });

  test('a tensor above the limit is not read whole, but in chunks', async () => {
    const header = `{${entry('huge', 'U8', [MAX_TENSOR_BYTES + 1], 0, MAX_TENSOR_BYTES + 1)}}`;
    const path = await tempFile(fileBytes(header));
    await truncate(path, 8 + header.length + MAX_TENSOR_BYTES + 1);
    const checkpoint = await openCheckpoint(path);
    expect((await failure(() => checkpoint.readRaw('huge'))).code).toBe('TENSOR_TOO_LARGE');
    for await (const chunk of checkpoint.chunks('huge')) {
      expect(chunk.byteLength).toBe(DEFAULT_CHUNK_BYTES);
      break;
    }
    await checkpoint.close();
  });

  test('an abort ends opening and reading', async () => {
    const path = await tempFile(
      f32File(
        'a',
        Array.from({ length: 100 }, () => 1),
      ),
    );
    const signal = AbortSignal.abort();
    await expect(openCheckpoint(path, { signal })).rejects.toThrow(expect.objectContaining({ name: 'AbortError' }));
    const checkpoint = await openCheckpoint(path);
    await expect(checkpoint.readFloat32('a', { signal })).rejects.toThrow(
      expect.objectContaining({ name: 'AbortError' }),
    );
    const controller = new AbortController();
    let chunks = 0;
    const reading = (async () => {
      for await (const _ of checkpoint.chunks('a', { chunkBytes: 8, signal: controller.signal })) {
        if (++chunks === 3) controller.abort();
      }
    })();
    await expect(reading).rejects.toThrow(expect.objectContaining({ name: 'AbortError' }));
    expect(chunks).toBe(3);
    await checkpoint.close();
  });
});
