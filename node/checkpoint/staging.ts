import { mkdir, readdir, rename, rm, utimes } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { abandonedSiblings, makeDirectoryDurably, removeTempSiblings, tempSibling } from '../../src/durable.ts';

/**
 * A hidden directory beside `out` in which one recipe's checkpoint is put together. What an earlier process left of the
 * same recipe is taken over; what others left beside `out` is removed.
 */
export async function claimStaging(out: string, recipe: string): Promise<string> {
  const parent = dirname(out);
  await makeDirectoryDurably(parent);
  const key = join(parent, `${basename(out)}.${recipe}`);
  const staging = tempSibling(key);
  const found = await takeOver(await abandonedSiblings(key), staging);
  if (!found) await mkdir(staging);
  // Younger than this process from now on, as the sweep wants what is in use to be.
  const now = new Date();
  await utimes(staging, now, now);
  await removeTempSiblings(parent);
  return staging;
}

/** A fresh hidden directory beside `out`; what crashed processes left there is removed. */
export async function freshStaging(out: string): Promise<string> {
  const parent = dirname(out);
  await makeDirectoryDurably(parent);
  await removeTempSiblings(parent);
  const staging = tempSibling(out);
  await mkdir(staging);
  return staging;
}

/** Removes all but the blobs of these ids, whole or partial. */
export async function keepBlobs(staging: string, ids: readonly string[]): Promise<void> {
  for (const name of await readdir(staging)) {
    if (ids.some((id) => name === id || name.startsWith(`${id}.`))) continue;
    await rm(join(staging, name), { recursive: true, force: true });
  }
}

/** A rename is atomic: of two processes that want the same directory, one gets it. */
async function takeOver(candidates: readonly string[], staging: string): Promise<boolean> {
  for (const candidate of candidates) {
    try {
      await rename(candidate, staging);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return false;
}
