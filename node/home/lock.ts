import { randomUUID } from 'node:crypto';
import { link, readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { tempSibling, writeFileDurably } from '../../src/durable.ts';
import { NodeError } from '../errors.ts';

/** Who holds a home, as written in its lock file. */
export interface LockOwner {
  readonly pid: number;
  /** Start time of the process in kernel ticks, `@`, and the id of the boot (Linux): a reused pid is not taken for the owner. */
  readonly started: string | null;
  readonly command: string;
}

export interface HomeLock {
  release(): Promise<void>;
}

const LOCK_FILE_MODE = 0o600;
/** Attempts before giving up: other starters may be at the same lock. */
const LOCK_ATTEMPTS = 50;
/** Wait for a rival who is taking a dead owner's lock over, in milliseconds: a few file operations. */
const RIVAL_WAIT_MS = 20;

/**
 * Takes the home for this process.
 *
 * @param path - the lock file
 * @param command - what this process does, shown to whoever finds the home locked
 * @throws NodeError `HOME_LOCKED` while the owner lives
 */
export async function lockHome(path: string, command: string): Promise<HomeLock> {
  const mine: LockOwner = { pid: process.pid, started: await startTime(process.pid), command };
  // The nonce tells this lock from every other, also from another one of this process.
  const text = JSON.stringify({ ...mine, nonce: randomUUID() });
  const lock: HomeLock = {
    release: async () => {
      if ((await readText(path)) === text) await rm(path, { force: true });
    },
  };
  for (let attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
    if (await createWhole(path, text)) return lock;
    const found = await readText(path);
    if (found === undefined) continue;
    const owner = parseOwner(found);
    if (owner !== undefined && (await isAlive(owner))) {
      throw new NodeError(
        'HOME_LOCKED',
        `the home is in use by process ${owner.pid} (${owner.command}): stop it, or choose another --home`,
        { path, ...owner },
      );
    }
    if (await takeOver(path, found, text)) return lock;
  }
  throw new NodeError('HOME_LOCKED', 'the home is being taken by other processes: try again', { path });
}

/**
 * Puts `text` in the place of a dead owner's lock. One starter at a time holds the marker, and it looks again: deleting
 * the lock instead would let a slower starter delete the lock of the faster one.
 */
async function takeOver(path: string, stale: string, text: string): Promise<boolean> {
  const marker = `${path}.takeover`;
  if (!(await createWhole(marker, text))) {
    const rival = parseOwner((await readText(marker)) ?? '');
    if (rival !== undefined && (await isAlive(rival))) await sleep(RIVAL_WAIT_MS);
    else await rm(marker, { force: true });
    return false;
  }
  try {
    if ((await readText(path)) !== stale) return false;
    await writeFileDurably(path, text, LOCK_FILE_MODE);
    return true;
  } finally {
    await rm(marker, { force: true });
  }
}

/** The living owner of a home, if there is one. */
export async function homeOwner(path: string): Promise<LockOwner | undefined> {
  const owner = parseOwner((await readText(path)) ?? '');
  return owner !== undefined && (await isAlive(owner)) ? owner : undefined;
}

/** Creates a file with all of its content, or nothing: who finds it can read it. False when it exists. */
async function createWhole(path: string, text: string): Promise<boolean> {
  const temp = tempSibling(path);
  await writeFile(temp, text, { flag: 'wx', mode: LOCK_FILE_MODE });
  try {
    await link(temp, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(temp, { force: true });
  }
}

/** Undefined when there is no file. */
async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Undefined for text that names nobody, such as a file that a crash of the machine left empty. */
function parseOwner(text: string): LockOwner | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return undefined;
    const { pid, started, command } = value as Record<string, unknown>;
    if (typeof pid !== 'number' || !Number.isSafeInteger(pid) || pid <= 0) return undefined;
    return {
      pid,
      started: typeof started === 'string' ? started : null,
      command: typeof command === 'string' ? command : 'unknown',
    };
  } catch {
    return undefined;
  }
}

async function isAlive(owner: LockOwner): Promise<boolean> {
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  const started = await startTime(owner.pid);
  if (owner.started === null || started === null) return true;
  // A lock of an older version names no boot.
  return owner.started.includes('@') ? owner.started === started : started.startsWith(`${owner.started}@`);
}

async function startTime(pid: number): Promise<string | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // Field 22 counted after the command name, which may itself hold spaces and parentheses (proc(5)).
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    // Ticks count from the boot: after another one, the same process id may well have started at the same tick.
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    return ticks === undefined ? null : `${ticks}@${boot.trim()}`;
  } catch {
    return null;
  }
}
