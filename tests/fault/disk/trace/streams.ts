/** The callback functions of `node:fs` that its streams are made of, with a trace; what else changes the disk is refused. */
import fs from 'node:fs';
import { refused } from './promises.ts';
import type { Opened, Tracer } from './tracer.ts';

type Callback = (error: NodeJS.ErrnoException | null, ...results: never[]) => void;

const REFUSED = [
  ...[
    'appendFile',
    'copyFile',
    'cp',
    'link',
    'mkdir',
    'mkdtemp',
    'rename',
    'rm',
    'rmdir',
    'symlink',
    'truncate',
    'unlink',
    'writeFile',
  ],
  ...[
    'appendFileSync',
    'copyFileSync',
    'cpSync',
    'linkSync',
    'mkdirSync',
    'mkdtempSync',
    'renameSync',
    'rmSync',
    'rmdirSync',
  ],
  ...['symlinkSync', 'truncateSync', 'unlinkSync', 'writeFileSync'],
] as const;

export function traceStreams(tracer: Tracer): void {
  const original = { ...fs };
  const opened = new Map<number, Opened>();

  const open = (path: string, flags: string, mode: number, done: Callback) => {
    const traced = tracer.covered(path);
    if (traced === undefined) return original.open(path, flags, mode, done as never);
    const id = tracer.nextId();
    const existed = tracer.exists(traced);
    const end = tracer.begin({ op: 'open', path: traced, reading: flags === 'r' });
    return original.open(path, flags, mode, (error, fd) => {
      if (error === null) opened.set(fd, { id, path: traced });
      const created = !existed && /[wa]/.test(flags);
      end(error === null, error === null ? { handle: id, created, truncated: existed && /w/.test(flags) } : {});
      (done as (error: unknown, fd?: number) => void)(error, fd);
    });
  };

  /** @param args - what the function takes after the descriptor; the last one is the callback */
  const traced =
    (op: 'write' | 'sync', plain: (fd: number, ...args: never[]) => void) =>
    (fd: number, ...args: unknown[]): void => {
      const what = opened.get(fd);
      if (what === undefined) {
        plain(fd, ...(args as never[]));
        return;
      }
      const done = args.pop() as (error: unknown, ...results: unknown[]) => void;
      const copy = op === 'sync' ? tracer.copy(fd) : undefined;
      const end = tracer.begin({ op, path: what.path, handle: what.id });
      const last = (error: unknown, ...results: unknown[]) => {
        const size = error ? 0 : tracer.size(fd);
        const length = Number(results[0]);
        end(
          !error,
          op === 'write' ? { from: Math.max(0, size - length), until: size } : copy === undefined ? {} : { copy },
        );
        done(error, ...results);
      };
      plain(fd, ...([...args, last] as never[]));
    };

  const close = (fd: number, done?: Callback) => {
    opened.delete(fd);
    original.close(fd, done as never);
  };

  Object.assign(fs, {
    open,
    close,
    write: traced('write', original.write as never),
    writev: traced('write', original.writev as never),
    fsync: traced('sync', original.fsync as never),
    fdatasync: traced('sync', original.fdatasync as never),
    ...Object.fromEntries(REFUSED.map((name) => [name, refused(name, tracer, original[name] as never)])),
  });
}
