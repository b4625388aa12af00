/** `node:fs/promises` with a trace of what changes the disk. */
import { constants } from 'node:fs';
import promises, { type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Opened, Tracer } from './tracer.ts';

type OpenFlags = string | number | undefined;

/** Replaces the functions of the module and the methods of its file handles. */
export async function tracePromises(tracer: Tracer): Promise<void> {
  const original = { ...promises };
  const opened = new WeakMap<FileHandle, Opened>();

  const open = async (path: string, flags?: OpenFlags, mode?: number): Promise<FileHandle> => {
    const traced = tracer.covered(path);
    if (traced === undefined) return original.open(path, flags, mode);
    const id = tracer.nextId();
    const existed = tracer.exists(traced);
    const handle = await tracer.run(
      { op: 'open', path: traced, reading: reads(flags) },
      () => original.open(path, flags, mode),
      () => ({ handle: id, created: !existed && creates(flags), truncated: existed && truncates(flags) }),
    );
    opened.set(handle, { id, path: traced });
    return handle;
  };

  const probe = await original.open('/dev/null', 'r');
  const methods = Object.getPrototypeOf(probe) as FileHandle;
  await probe.close();
  traceHandles(tracer, methods, opened);

  /** What is done to a file by its name, as steps on an open file. */
  const through = async (
    path: string,
    flags: OpenFlags,
    mode: number | undefined,
    work: (file: FileHandle) => unknown,
  ) => {
    const file = await open(path, flags, mode);
    try {
      await work(file);
    } finally {
      await file.close();
    }
  };
  const writing =
    (plain: (...args: never[]) => Promise<void>, flag: string) =>
    async (target: string | FileHandle, data: string | Uint8Array, given?: WriteOptions): Promise<void> => {
      if (typeof target === 'object' && 'fd' in target) return target.writeFile(data);
      if (tracer.covered(target) === undefined) return plain(...([target, data, given] as never[]));
      const options = typeof given === 'string' ? {} : (given ?? {});
      await through(target, options.flag ?? flag, options.mode, async (file) => {
        await file.writeFile(data);
        if (options.flush === true) await file.sync();
      });
    };

  const single =
    <A extends unknown[]>(op: 'unlink' | 'rmdir', plain: (path: string, ...rest: A) => Promise<void>) =>
    async (path: string, ...rest: A): Promise<void> => {
      const traced = tracer.covered(path);
      return traced === undefined ? plain(path, ...rest) : tracer.run({ op, path: traced }, () => plain(path, ...rest));
    };
  const unlink = single('unlink', original.unlink as (path: string) => Promise<void>);
  const rmdir = single('rmdir', original.rmdir as (path: string) => Promise<void>);

  const double =
    (op: 'rename' | 'link', plain: (from: string, to: string) => Promise<void>) =>
    async (from: string, to: string): Promise<void> => {
      const [path, target] = [tracer.covered(from), tracer.covered(to)];
      if (path === undefined && target === undefined) return plain(from, to);
      if (path === undefined || target === undefined) throw new Error(`${op} out of the traced directories: ${from}`);
      return tracer.run({ op, path, to: target }, () => plain(from, to));
    };

  /** As `rm` works inside: entry by entry, so that it can be cut off in its middle. */
  const remove = async (path: string): Promise<void> => {
    if (!(await original.lstat(path)).isDirectory()) return unlink(path);
    for (const name of await original.readdir(path)) await remove(join(path, name));
    await rmdir(path);
  };
  const rm = async (path: string, options: { recursive?: boolean; force?: boolean } = {}): Promise<void> => {
    if (tracer.covered(path) === undefined || !tracer.exists(path)) return original.rm(path, options);
    if (!options.recursive && (await original.lstat(path)).isDirectory()) return original.rm(path, options);
    try {
      await remove(path);
    } catch (error) {
      if (options.force !== true || (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  };

  const makeDirectory = (path: string, mode: number | undefined) =>
    tracer.run({ op: 'mkdir', path }, async () => void (await original.mkdir(path, { mode })));
  const mkdir = async (path: string, given?: number | { recursive?: boolean; mode?: number }) => {
    const traced = tracer.covered(path);
    const { recursive = false, mode } = typeof given === 'object' ? given : { mode: given };
    if (traced === undefined) return original.mkdir(path, given);
    if (!recursive) return makeDirectory(traced, mode);
    const missing: string[] = [];
    for (let at = traced; !tracer.exists(at); at = dirname(at)) missing.unshift(at);
    for (const directory of missing) {
      await makeDirectory(directory, mode).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error;
      });
    }
    return missing[0];
  };
  const mkdtemp = async (prefix: string) => {
    const made = await original.mkdtemp(prefix);
    const traced = tracer.covered(made);
    if (traced !== undefined) await tracer.run({ op: 'mkdir', path: traced }, async () => {});
    return made;
  };

  const copyFile = async (from: string, to: string, mode = 0): Promise<void> => {
    if (tracer.covered(to) === undefined) return original.copyFile(from, to, mode);
    const bytes = await original.readFile(from);
    const flags = (mode & constants.COPYFILE_EXCL) !== 0 ? 'wx' : 'w';
    await through(to, flags, undefined, (file) => file.writeFile(bytes));
  };

  Object.assign(promises, {
    open,
    writeFile: writing(original.writeFile as never, 'w'),
    appendFile: writing(original.appendFile as never, 'a'),
    truncate: (path: string, length = 0) =>
      tracer.covered(path) === undefined
        ? original.truncate(path, length)
        : through(path, 'r+', undefined, (file) => file.truncate(length)),
    unlink,
    rmdir,
    rename: double('rename', original.rename as (from: string, to: string) => Promise<void>),
    link: double('link', original.link as (from: string, to: string) => Promise<void>),
    rm,
    mkdir,
    mkdtemp,
    copyFile,
    symlink: refused('symlink', tracer, original.symlink as never),
    cp: refused('cp', tracer, original.cp as never),
  });
}

type WriteOptions = string | { readonly flag?: string; readonly mode?: number; readonly flush?: boolean } | null;

function traceHandles(tracer: Tracer, methods: FileHandle, opened: WeakMap<FileHandle, Opened>): void {
  const { write, writev, writeFile, appendFile, truncate, sync, datasync } = methods;
  /** The bytes that a write touched: at its place, or where the file ends now. */
  const written = (file: FileHandle, length: number, position: unknown) => {
    const from = typeof position === 'number' ? position : Math.max(0, tracer.size(file.fd) - length);
    return { from, until: from + length };
  };
  const wrap = <A extends unknown[], T>(
    plain: (this: FileHandle, ...args: A) => Promise<T>,
    traced: (file: FileHandle, what: Opened, args: A, run: () => Promise<T>) => Promise<T>,
  ) =>
    function (this: FileHandle, ...args: A): Promise<T> {
      const what = opened.get(this);
      const run = () => plain.apply(this, args);
      return what === undefined ? run() : traced(this, what, args, run);
    };
  const position = (args: readonly unknown[]): unknown => {
    if (typeof args[0] === 'string') return args[1];
    return typeof args[1] === 'object' && args[1] !== null ? (args[1] as { position?: unknown }).position : args[3];
  };
  const whole = (plain: (...args: never[]) => Promise<void>) =>
    wrap(plain as (...args: unknown[]) => Promise<void>, (file, { id, path }, _args, run) => {
      let before = 0;
      return tracer.run(
        { op: 'write', path, handle: id },
        () => {
          before = tracer.size(file.fd);
          return run();
        },
        () => {
          const size = tracer.size(file.fd);
          return { from: size > before ? before : 0, until: size };
        },
      );
    });
  const flush = (plain: () => Promise<void>) =>
    wrap(plain, (file, { id, path }, _args, run) => {
      const copy = tracer.copy(file.fd);
      return tracer.run({ op: 'sync', path, handle: id }, run, () => (copy === undefined ? {} : { copy }));
    });
  Object.assign(methods, {
    write: wrap(write as (...args: unknown[]) => Promise<{ bytesWritten: number }>, (file, what, args, run) =>
      tracer.run({ op: 'write', path: what.path, handle: what.id }, run, ({ bytesWritten }) =>
        written(file, bytesWritten, position(args)),
      ),
    ),
    writev: wrap(writev as (...args: unknown[]) => Promise<{ bytesWritten: number }>, (file, what, args, run) =>
      tracer.run({ op: 'write', path: what.path, handle: what.id }, run, ({ bytesWritten }) =>
        written(file, bytesWritten, args[1]),
      ),
    ),
    writeFile: whole(writeFile as never),
    appendFile: whole(appendFile as never),
    truncate: wrap(truncate, (_file, { id, path }, _args, run) =>
      tracer.run({ op: 'truncate', path, handle: id }, run),
    ),
    sync: flush(sync),
    datasync: flush(datasync),
  });
}

/** A function that nothing uses on traced files yet; whoever does learns that its trace has to be written first. */
export function refused<A extends unknown[], T>(name: string, tracer: Tracer, plain: (...args: A) => T) {
  return (...args: A): T => {
    if (args.slice(0, 2).some((path) => tracer.covered(path) !== undefined))
      throw new Error(`fs.${name} is not traced`);
    return plain(...args);
  };
}

function reads(flags: OpenFlags): boolean {
  return typeof flags === 'number' ? (flags & (constants.O_WRONLY | constants.O_RDWR)) === 0 : (flags ?? 'r') === 'r';
}

function creates(flags: OpenFlags): boolean {
  return typeof flags === 'number' ? (flags & constants.O_CREAT) !== 0 : /[wa]/.test(flags ?? 'r');
}

function truncates(flags: OpenFlags): boolean {
  return typeof flags === 'number' ? (flags & constants.O_TRUNC) !== 0 : /w/.test(flags ?? 'r');
}
