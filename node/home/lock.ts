import { open, readFile, rm } from 'node:fs/promises';
import { NodeError } from '../errors.ts';

/** Who holds a home, as written in its lock file. */
export interface LockOwner {
  readonly pid: number;
  /** Start time of the process in kernel ticks (Linux), so that a reused pid is not taken for the owner. */
  readonly started: string | null;
  readonly command: string;
}

export interface HomeLock {
  release(): Promise<void>;
}

/** Attempts to take over a stale lock before giving up: two starters may race for it. */
const LOCK_ATTEMPTS = 5;

/**
 * Takes the home for this process.
 *
 * @param path - the lock file
 * @param command - what this process does, shown to whoever finds the home locked
 * @throws NodeError `HOME_LOCKED` while the owner lives
 */
export async function lockHome(path: string, command: string): Promise<HomeLock> {
  const mine: LockOwner = { pid: process.pid, started: await startTime(process.pid), command };
  for (let attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
    if (await tryCreate(path, JSON.stringify(mine))) {
      return { release: () => rm(path, { force: true }) };
    }
    const owner = await readOwner(path);
    if (owner !== undefined && (await isAlive(owner))) {
      throw new NodeError(
        'HOME_LOCKED',
        `the home is in use by process ${owner.pid} (${owner.command}): stop it, or choose another --home`,
        { path, ...owner },
      );
    }
    await rm(path, { force: true });
  }
  throw new NodeError('HOME_LOCKED', 'the home is being taken by other processes: try again', { path });
}

/** The living owner of a home, if there is one. */
export async function homeOwner(path: string): Promise<LockOwner | undefined> {
  const owner = await readOwner(path);
  return owner !== undefined && (await isAlive(owner)) ? owner : undefined;
}

async function tryCreate(path: string, text: string): Promise<boolean> {
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.writeFile(text);
    } finally {
      await file.close();
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function readOwner(path: string): Promise<LockOwner | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'));
    if (typeof value !== 'object' || value === null) return undefined;
    const { pid, started, command } = value as Record<string, unknown>;
    if (typeof pid !== 'number' || !Number.isSafeInteger(pid) || pid <= 0) return undefined;
    return {
      pid,
      started: typeof started === 'string' ? started : null,
      command: typeof command === 'string' ? command : 'unknown',
    };
  } catch {
    // Missing, torn by a crash while it was written, or not JSON: nobody can be named, so nobody holds it.
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
  return owner.started === null || started === null || owner.started === started;
}

async function startTime(pid: number): Promise<string | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // Field 22 counted after the command name, which may itself hold spaces and parentheses (proc(5)).
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}
