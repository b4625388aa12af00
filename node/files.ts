import { access, readdir } from 'node:fs/promises';
import { CID } from 'multiformats/cid';

/** Whether a path exists. */
export async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}

/** The ids among the file names of a directory; other names are passed over. */
export async function cidNames(directory: string): Promise<CID[]> {
  const ids: CID[] = [];
  for (const name of await readdir(directory)) {
    try {
      ids.push(CID.parse(name));
    } catch {
      // Not an id: a partial or a foreign file.
    }
  }
  return ids;
}
