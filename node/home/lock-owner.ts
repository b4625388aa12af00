import { readFile, readlink, stat } from 'node:fs/promises';

/** Who holds a home, as written in its lock file. */
export interface LockOwner {
  readonly pid: number;
  /** Start time of the process in kernel ticks, `@`, and the id of the boot (Linux): a reused pid is not taken for the owner. */
  readonly started: string | null;
  /** Where the pid means this process: boot and namespace (Linux). Containers that share a home have several. */
  readonly place: string | null;
  readonly command: string;
}

/** How often the owner of a home touches its lock file, in milliseconds. */
export const LOCK_BEAT_MS = 5_000;
/**
 * Time after which a lock that was not touched counts as left behind, in milliseconds, where its owner's process cannot be looked
 * for: in another container, or on another machine. Four beats: a busy disk may hold up one or two.
 */
export const LOCK_STALE_MS = 20_000;

/** This process, as an owner. */
export async function ownerHere(command: string): Promise<LockOwner> {
  return { pid: process.pid, started: await startTime(process.pid), place: await placeHere(), command };
}

/** Whether the owner's process can be looked for from here. */
export async function isNear({ place }: LockOwner): Promise<boolean> {
  const here = await placeHere();
  return place === null || here === null || place === here;
}

/** @param path - the lock file */
export async function isAlive(owner: LockOwner, path: string): Promise<boolean> {
  if (!(await isNear(owner))) return isFresh(path);
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

/** Undefined for text that names nobody, such as a file that a crash of the machine left empty. */
export function parseOwner(text: string): LockOwner | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return undefined;
    const { pid, started, place, command } = value as Record<string, unknown>;
    if (typeof pid !== 'number' || !Number.isSafeInteger(pid) || pid <= 0) return undefined;
    return {
      pid,
      started: typeof started === 'string' ? started : null,
      place: typeof place === 'string' ? place : null,
      command: typeof command === 'string' ? command : 'unknown',
    };
  } catch {
    return undefined;
  }
}

async function isFresh(path: string): Promise<boolean> {
  try {
    return Math.abs(Date.now() - (await stat(path)).mtimeMs) < LOCK_STALE_MS;
  } catch {
    return false;
  }
}

async function placeHere(): Promise<string | null> {
  try {
    return `${await bootId()} ${await readlink('/proc/self/ns/pid')}`;
  } catch {
    return null;
  }
}

async function startTime(pid: number): Promise<string | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // Field 22 counted after the command name, which may itself hold spaces and parentheses (proc(5)).
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    // Ticks count from the boot: after another one, the same process id may well have started at the same tick.
    const boot = await bootId();
    return ticks === undefined ? null : `${ticks}@${boot}`;
  } catch {
    return null;
  }
}

async function bootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}
