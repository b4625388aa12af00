import { open, stat } from 'node:fs/promises';
import { CONTAINER_MAGIC } from '../../../../src/codec/container-format.ts';
import { CheckpointError, isHubName } from '../../../../src/tensors/index.ts';

/** Something open that must be closed. */
interface Closable {
  close(): Promise<void>;
}

/** Runs `work`, and then closes whatever it gave to `keep`, the last one first. */
export async function closingAfter<T>(work: (keep: <R extends Closable>(resource: R) => R) => Promise<T>): Promise<T> {
  const kept: Closable[] = [];
  try {
    return await work((resource) => {
      kept.push(resource);
      return resource;
    });
  } finally {
    for (const resource of kept.reverse()) await resource.close();
  }
}

/** The first bytes of a file, at most `length`; none of what is not a file. @throws CheckpointError */
export async function readHead(path: string, length: number): Promise<Uint8Array> {
  try {
    // A pipe would hold up the opening itself.
    if (!(await stat(path)).isFile()) return new Uint8Array(0);
    const file = await open(path, 'r');
    try {
      const { bytesRead, buffer } = await file.read(new Uint8Array(length), 0, length, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    const text = missing ? `${path}: nothing there. Check the path.` : `${path}: ${(cause as Error).message}`;
    throw new CheckpointError(missing ? 'NOT_FOUND' : 'IO_FAILED', text, { path }, { cause });
  }
}

/** The first four bytes of a file as a big-endian number; 0 of a shorter one. */
export function magicOf(head: Uint8Array): number {
  return head.length < 4 ? 0 : new DataView(head.buffer, head.byteOffset).getUint32(0);
}

/** Whether a file is what `encode` writes, by its first bytes; a name in the Hugging Face cache never is. */
export async function isUpdateFile(path: string): Promise<boolean> {
  return !isHubName(path) && magicOf(await readHead(path, 4)) === CONTAINER_MAGIC;
}
