import { readdirSync, readlinkSync } from 'node:fs';
import { rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { FileCache, MAX_OPEN_FILES } from '../../../src/codec/file-cache.ts';
import { identityOf } from '../../../src/file-identity.ts';
import { CheckpointError } from '../../../src/tensors/index.ts';
import { temporaryDirectory } from './support.ts';

/** Files of a directory that this process holds open. */
function openIn(directory: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return target.startsWith(directory) ? [target] : [];
    } catch {
      return [];
    }
  });
}

test('keeps files open up to its limit, and closes the oldest for one more', async () => {
  const directory = await temporaryDirectory();
  const paths = Array.from({ length: MAX_OPEN_FILES + 1 }, (_, i) => join(directory, `f${i}`));
  for (const path of paths) await writeFile(path, path);
  const files = new FileCache();
  const text = (path: string) => {
    const bytes = Buffer.alloc(path.length);
    files.read({ path }, bytes, 0);
    return bytes.toString();
  };
  for (const path of paths.slice(0, MAX_OPEN_FILES)) expect(text(path)).toBe(path);
  expect(openIn(directory)).toHaveLength(MAX_OPEN_FILES);
  expect(files.open({ path: paths[0]! })).toBe(files.open({ path: paths[0]! }));
  expect(text(paths[MAX_OPEN_FILES]!)).toBe(paths[MAX_OPEN_FILES]);
  expect(openIn(directory).sort()).toEqual(paths.slice(1).sort());
  // The one that was closed is opened again when it is needed.
  expect(text(paths[0]!)).toBe(paths[0]);
  expect(openIn(directory)).toHaveLength(MAX_OPEN_FILES);
  files.close();
  expect(openIn(directory)).toEqual([]);
  files.close();
});

test('a file that is gone is named, with what to do', async () => {
  const path = join(await temporaryDirectory(), 'gone');
  const files = new FileCache();
  const call = () => files.open({ path });
  expect(call).toThrow(CheckpointError);
  expect(call).toThrow(/gone.*put it back/);
});

test('a file that took the place of another is read, and the other one is refused from then on', async () => {
  const directory = await temporaryDirectory();
  const path = join(directory, 'file');
  const known = async () => ({ path, identity: identityOf(await stat(path)) });
  await writeFile(path, 'first');
  const first = await known();
  const files = new FileCache();
  onTestFinished(() => files.close());
  const text = (file: Parameters<FileCache['read']>[0]) => {
    const bytes = new Uint8Array(5);
    files.read(file, bytes, 0);
    return Buffer.from(bytes).toString();
  };
  expect(text(first)).toBe('first');
  await writeFile(join(directory, 'other'), 'other');
  await rename(join(directory, 'other'), path);
  const second = await known();
  expect(text(second)).toBe('other');
  expect(text(second)).toBe('other');
  for (let i = 0; i < 2; i++) expect(() => text(first)).toThrow(expect.objectContaining({ code: 'FILE_CHANGED' }));
  expect(text(second)).toBe('other');
});
