/**
 * Files that survive a crash: write under a temporary name in the same directory, flush, rename, flush the directory.
 *
 * A reader sees the old content or the new one, never a part. The functions throw the plain errors of `node:fs`.
 */
import { createHash, randomUUID } from 'node:crypto';
import { lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';

const TEMP_SUFFIX = '.kinmerge-tmp';
/** Hexadecimal digits, all but one of them random. */
const RANDOM_CHARS = 16;
const REPLACED_SUFFIX = '.kinmerge-old';

/** File names of common file systems end at 255 bytes: this leaves room for the owner, the random part and the suffix. */
const MAX_STEM_BYTES = 120;

/** A fresh hidden name beside `path`, on the same file system; it names its owner, so that a stale one can be told. */
export function tempSibling(path: string): string {
  return sibling(path, TEMP_SUFFIX);
}

/**
 * Writes a whole file so that after a crash `path` holds either the old content or all of `bytes`.
 *
 * @param mode - permission bits, e.g. `0o600` for a key; default: those of the process's umask
 */
export async function writeFileDurably(path: string, bytes: Uint8Array | string, mode?: number): Promise<void> {
  const temp = tempSibling(path);
  try {
    const file = await open(temp, 'wx', mode);
    try {
      if (mode !== undefined) await file.chmod(mode);
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temp, path);
  } catch (error) {
    await rm(temp, { force: true });
    throw error;
  }
  await fsyncDir(dirname(path));
}

/**
 * Flushes the file or directory `from`, gives it the name `to` (replacing a file or an empty directory) and flushes
 * the directories concerned. Files inside a directory must have been flushed by whoever wrote them.
 */
export async function renameDurably(from: string, to: string): Promise<void> {
  if ((await lstat(from)).isDirectory()) await fsyncDir(from);
  else await fsyncFile(from);
  await rename(from, to);
  const source = dirname(resolve(from));
  const target = dirname(resolve(to));
  await fsyncDir(target);
  if (source !== target) await fsyncDir(source);
}

/**
 * Makes a directory and what is missing above it; its name is flushed, also where an earlier process made it and was
 * killed before it did so.
 */
export async function makeDirectoryDurably(path: string, mode?: number): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode });
  const last = first === undefined ? dirname(resolve(path)) : dirname(resolve(first));
  for (let above = resolve(path); above !== last; ) {
    above = dirname(above);
    await fsyncDir(above).catch((error: NodeJS.ErrnoException) => {
      // A directory that may be passed through and not be read is somebody else's, and nothing was made in it.
      if (error.code !== 'EACCES') throw error;
    });
  }
}

/** Flushes a file's content. */
export async function fsyncFile(path: string): Promise<void> {
  // Windows flushes only through a writable handle; elsewhere a read-only copy must be flushable too.
  const file = await open(path, process.platform === 'win32' ? 'r+' : 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Flushes the names inside a directory. Windows has no such call and needs none. */
export async function fsyncDir(dir: string): Promise<void> {
  if (process.platform === 'win32') return;
  await fsyncFile(dir === '' ? '.' : dir);
}

/**
 * Puts the complete, flushed directory `staging` in the place of the directory `target`.
 *
 * No portable call exchanges two directories, so there is an instant without `target`: the old one is then complete
 * under the name that `findReplaced(target)` finds, and `recoverReplaced(target)` brings it back.
 */
export async function replaceDirectoryDurably(staging: string, target: string): Promise<void> {
  const old = sibling(target, REPLACED_SUFFIX);
  await renameDurably(target, old);
  try {
    await renameDurably(staging, target);
  } catch (error) {
    await renameDurably(old, target).catch(() => undefined);
    throw error;
  }
  await rm(old, { recursive: true, force: true });
}

/** The old directory that an interrupted `replaceDirectoryDurably` left, or undefined. */
export async function findReplaced(target: string): Promise<string | undefined> {
  const dir = dirname(resolve(target));
  const prefix = stem(target);
  const names = (await listing(dir)).filter((name) => name.startsWith(prefix) && name.endsWith(REPLACED_SUFFIX)).sort();
  return names.length === 0 ? undefined : join(dir, names[0]!);
}

/**
 * Ends an interrupted replacement: brings the old directory back, or removes it where the new one is in place. One that
 * a running process is at stays as it is.
 */
export async function recoverReplaced(target: string): Promise<void> {
  const old = await findReplaced(target);
  if (old === undefined || (await inUse(old))) return;
  if (await exists(target)) await rm(old, { recursive: true, force: true });
  else await renameDurably(old, target);
}

/**
 * Removes a directory, if it is there, that nobody must find in part: it first gets a temporary name, under which
 * `removeTempSiblings` ends what a crash interrupts.
 */
export async function removeWhole(path: string): Promise<void> {
  const doomed = tempSibling(path);
  try {
    await rename(path, doomed);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  await fsyncDir(dirname(doomed));
  await rm(doomed, { recursive: true, force: true });
}

/**
 * Removes the temporary files and directories that crashed processes left in `dir`. Those of a process that still
 * runs, this one included, stay.
 *
 * @returns the names removed
 */
export async function removeTempSiblings(dir: string): Promise<string[]> {
  const removed: string[] = [];
  for (const name of await listing(dir)) {
    const path = join(dir, name);
    if (!name.endsWith(TEMP_SUFFIX) || (await inUse(path))) continue;
    await rm(path, { recursive: true, force: true });
    removed.push(name);
  }
  if (removed.length > 0) await fsyncDir(dir);
  return removed;
}

/** Temporary siblings of exactly `path` that no running process is at: whoever renames one may go on with it. */
export async function abandonedSiblings(path: string): Promise<string[]> {
  const dir = dirname(resolve(path));
  const prefix = stem(path);
  const abandoned: string[] = [];
  for (const name of (await listing(dir)).sort()) {
    const ours = name.startsWith(prefix) && /^\d{1,10}-[0-9a-f]{16}\.kinmerge-tmp$/.test(name.slice(prefix.length));
    if (ours && !(await inUse(join(dir, name)))) abandoned.push(join(dir, name));
  }
  return abandoned;
}

/** Whether the process that made a name of ours may still be at it; true for a name that is not ours. */
async function inUse(path: string): Promise<boolean> {
  const owner = /\.(\d{1,10})-[0-9a-f]{16}\.kinmerge-(tmp|old)$/.exec(basename(path));
  if (owner === null) return true;
  const pid = Number(owner[1]);
  if (pid !== process.pid) return isAlive(pid);
  // A container gives every run the same process id: what is ours must also be younger than this process.
  const info = await lstat(path).catch(() => undefined);
  return info !== undefined && info.ctimeMs >= Date.now() - process.uptime() * 1000;
}

function sibling(path: string, suffix: string): string {
  // Of the random sources the one that draws for many calls at once.
  const unique = `${process.pid}-${randomUUID().replaceAll('-', '').slice(0, RANDOM_CHARS)}`;
  return join(dirname(resolve(path)), `${stem(path)}${unique}${suffix}`);
}

/** `.<name>.`; a long name is cut and told apart by a hash. */
function stem(path: string): string {
  const name = basename(resolve(path));
  if (Buffer.byteLength(name) <= MAX_STEM_BYTES) return `.${name}.`;
  let cut = name.slice(0, MAX_STEM_BYTES);
  while (Buffer.byteLength(cut) > MAX_STEM_BYTES || !cut.isWellFormed()) cut = cut.slice(0, -1);
  return `.${cut}~${createHash('sha256').update(name).digest('hex').slice(0, 16)}.`;
}

async function listing(dir: string): Promise<string[]> {
  try {
    return await readdir(dir);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined)) !== undefined;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
