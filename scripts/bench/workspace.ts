import { mkdir, mkdtemp, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Where memory is a directory on Linux. */
const MEMORY_DIRECTORY = '/dev/shm';
/** `f_type` of a tmpfs (linux/magic.h). */
const TMPFS_MAGIC = 0x01021994;

export interface Workspace {
  /** For generated inputs. They outlive the run with `keep`, or when they were there before. */
  readonly data: string;
  /** For everything else; gone afterwards unless kept. */
  readonly scratch: string;
  readonly storage: 'tmpfs' | 'other';
  /** What is not as it should be, for the report. */
  readonly notes: readonly string[];
  /** Something in `data` that this run made. */
  made(path: string): void;
  dispose(): Promise<void>;
}

/** A place for `neededBytes`: `dir` if given, else memory if it has room and may be taken, else the temporary directory. */
export async function openWorkspace(options: {
  readonly dir: string | undefined;
  readonly keep: boolean;
  /** Not in memory, however much there is. */
  readonly onDisk: boolean;
  readonly neededBytes: number;
}): Promise<Workspace> {
  const notes: string[] = [];
  let root = options.dir;
  if (root === undefined) {
    const free = await freeBytes(MEMORY_DIRECTORY).catch(() => 0);
    const parent = !options.onDisk && free >= options.neededBytes ? MEMORY_DIRECTORY : tmpdir();
    if (parent !== MEMORY_DIRECTORY && !options.onDisk) {
      notes.push(
        `${MEMORY_DIRECTORY} has ${mib(free)} free, ${mib(options.neededBytes)} are needed: the run used ${parent}, whose speed is part of every time`,
      );
    }
    root = await mkdtemp(join(parent, 'kinmerge-bench-'));
  } else await mkdir(root, { recursive: true });
  const scratch = await mkdtemp(join(root, 'scratch-'));
  const made: string[] = options.dir === undefined ? [root] : [scratch];
  const { type } = await statfs(root);
  return {
    data: root,
    scratch,
    storage: type === TMPFS_MAGIC ? 'tmpfs' : 'other',
    notes,
    made: (path) => made.push(path),
    dispose: async () => {
      if (options.keep) return;
      for (const path of made) await rm(path, { recursive: true, force: true });
    },
  };
}

async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}

function mib(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}
