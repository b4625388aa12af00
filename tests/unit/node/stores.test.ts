import { randomBytes } from 'node:crypto';
import { access, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { BlobStore } from '../../../node/stores/blob-store.ts';
import { BLOCK_BYTES, manifestOf } from '../../../src/log/index.ts';
import { scratch } from './support.ts';

const CONTENT = new Uint8Array(randomBytes(2 * BLOCK_BYTES + 1000));
const block = (index: number) => CONTENT.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES);

async function blobStore() {
  const directory = await scratch();
  const store = new BlobStore({ directory });
  await store.open();
  return { directory, store, ...(await manifestOf(CONTENT)) };
}

describe('the blob store', () => {
  test('takes blocks in any order; the blob appears with the last step only', async () => {
    const { store, id, manifest } = await blobStore();
    const writer = await store.writer(id, manifest);
    for (const index of [2, 0, 1]) {
      expect(writer.has(index)).toBe(false);
      await writer.write(index, block(index));
      expect(writer.has(index)).toBe(true);
      expect(await store.has(id, manifest.size)).toBe(false);
    }
    await writer.commit();
    expect(await store.has(id, manifest.size)).toBe(true);
    expect(Buffer.compare(await readFile(store.path(id)), CONTENT)).toBe(0);
    expect((await store.list()).map(String)).toEqual([id.toString()]);
    expect(Buffer.compare((await store.readBlock(id, manifest, 2))!, block(2))).toBe(0);
  });

  test('refuses to finish a blob with missing blocks, and keeps what came', async () => {
    const { store, id, manifest } = await blobStore();
    const writer = await store.writer(id, manifest);
    await writer.write(1, block(1));
    await expect(writer.commit()).rejects.toMatchObject({ code: 'BLOB_INVALID', fields: { missing: 2 } });
    await writer.close();
    expect(await store.has(id, manifest.size)).toBe(false);
    const next = await store.writer(id, manifest);
    expect([0, 1, 2].map((index) => next.has(index))).toEqual([false, true, false]);
    await next.close();
  });

  test('resumes a partial blob of an earlier process and counts only blocks that are right', async () => {
    const { directory, store, id, manifest } = await blobStore();
    const partial = Buffer.from(CONTENT.subarray(0, 2 * BLOCK_BYTES + 500));
    partial[BLOCK_BYTES + 7]! ^= 1;
    await writeFile(join(directory, `${id}.part`), partial);
    await store.open();
    const writer = await store.writer(id, manifest);
    expect([0, 1, 2].map((index) => writer.has(index))).toEqual([true, false, false]);
    for (const index of [1, 2]) await writer.write(index, block(index));
    await writer.commit();
    expect(Buffer.compare(await readFile(store.path(id)), CONTENT)).toBe(0);
  });

  test('a partial file that is longer than the blob is cut to its size', async () => {
    const { directory, store, id, manifest } = await blobStore();
    await writeFile(join(directory, `${id}.part`), Buffer.concat([CONTENT, Buffer.alloc(3 * BLOCK_BYTES)]));
    const writer = await store.writer(id, manifest);
    await writer.commit();
    expect(Buffer.compare(await readFile(store.path(id)), CONTENT)).toBe(0);
  });

  test('does not take a file of another size for the blob', async () => {
    const { directory, store, id, manifest } = await blobStore();
    await writeFile(join(directory, id.toString()), CONTENT.subarray(1));
    expect(await store.has(id, manifest.size)).toBe(false);
    expect(await store.readBlock(id, manifest, 2)).toBeUndefined();
  });

  test.each([-1, 3, 1.5, Number.NaN, 2 ** 53])('has no block %d', async (index) => {
    const { store, id, manifest } = await blobStore();
    await store.put(id, CONTENT);
    expect(await store.readBlock(id, manifest, index)).toBeUndefined();
  });

  test('an adopted file moves, and a deleted blob is gone', async () => {
    const { directory, store, id, manifest } = await blobStore();
    const file = join(directory, 'work-in-progress');
    await writeFile(file, CONTENT);
    await store.adopt(id, file);
    await expect(access(file)).rejects.toThrow('ENOENT');
    expect(await store.has(id, manifest.size)).toBe(true);
    await store.delete(id);
    expect(await readdir(directory)).toEqual([]);
  });
});
