import { randomUUID } from 'node:crypto';
import { link, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { tempSibling, writeFileDurably } from '../../src/durable.ts';
import { NodeError } from '../errors.ts';
import { isAlive, isNear, LOCK_BEAT_MS, LOCK_STALE_MS, type LockOwner, ownerHere, parseOwner } from './lock-owner.ts';

export interface HomeLock {
  /** Aborted when somebody else has taken the home: this process was stopped so long that it looked dead from another container. */
  readonly lost: AbortSignal;
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
  // The nonce tells this lock from every other, also from another one of this process.
  const text = JSON.stringify({ ...(await ownerHere(command)), nonce: randomUUID() });
  for (let attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
    if (await createWhole(path, text)) return keep(path, text);
    const found = await readText(path);
    if (found === undefined) continue;
    const owner = parseOwner(found);
    if (owner !== undefined && (await isAlive(owner, path))) throw await lockedBy(owner, path);
    if (await takeOver(path, found, text)) return keep(path, text);
  }
  throw new NodeError('HOME_LOCKED', 'the home is being taken by other processes: try again', { path });
}

/** Touches the lock as long as it is held: who cannot see this process sees that. */
function keep(path: string, text: string): HomeLock {
  const lost = new AbortController();
  const beat = async () => {
    if ((await readText(path)) === text) {
      const now = new Date();
      await utimes(path, now, now);
      return;
    }
    clearInterval(timer);
    lost.abort(new NodeError('HOME_LOCKED', 'another process has taken this home: this one stops', { path }));
  };
  // A disk that does not answer now may do so at the next beat.
  const timer = setInterval(() => void beat().catch(() => {}), LOCK_BEAT_MS);
  timer.unref();
  return {
    lost: lost.signal,
    release: async () => {
      clearInterval(timer);
      if ((await readText(path)) === text) await rm(path, { force: true });
    },
  };
}

async function lockedBy(owner: LockOwner, path: string): Promise<NodeError> {
  const { pid, command } = owner;
  const who = `the home is in use by process ${pid} (${command})`;
  const message = (await isNear(owner))
    ? `${who}: stop it, or choose another --home`
    : `${who} of another container or machine: stop it, or choose another --home; if it is gone, try again in ${LOCK_STALE_MS / 1000} s`;
  return new NodeError('HOME_LOCKED', message, { path, ...owner });
}

/**
 * Puts `text` in the place of a dead owner's lock. One starter at a time holds the marker, and it looks again: deleting
 * the lock instead would let a slower starter delete the lock of the faster one.
 */
async function takeOver(path: string, stale: string, text: string): Promise<boolean> {
  const marker = `${path}.takeover`;
  if (!(await createWhole(marker, text))) {
    const rival = parseOwner((await readText(marker)) ?? '');
    if (rival !== undefined && (await isAlive(rival, marker))) await sleep(RIVAL_WAIT_MS);
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
  return owner !== undefined && (await isAlive(owner, path)) ? owner : undefined;
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
