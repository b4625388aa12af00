import { access, readdir, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CID } from 'multiformats/cid';
import { fsyncDir } from '../src/durable.ts';

/** Whether a path exists. */
export async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}

/** For `catch`: a file that is missing is no error. */
export function ignoreMissing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
}

/** Removes a file if it exists; after a crash it stays removed. */
export async function removeDurably(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    return ignoreMissing(error);
  }
  await fsyncDir(dirname(path));
}

/** The ids among the file names of a directory, those that end in `suffix`; other names are passed over. */
export async function cidNames(directory: string, suffix = ''): Promise<CID[]> {
  const ids: CID[] = [];
  for (const name of await readdir(directory)) {
    if (!name.endsWith(suffix)) continue;
    try {
      ids.push(CID.parse(name.slice(0, name.length - suffix.length)));
    } catch {
      // Not an id: a partial or a foreign file.
    }
  }
  return ids;
}
