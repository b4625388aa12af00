/**
 * What a disk may hold after the power failed, told from the trace of a process.
 *
 * POSIX promises little: a file's bytes are safe once the file was synced, and a name once its *directory* was. The
 * sync of a new file does not make its name safe; a creation, a rename or a removal whose directory was not synced may
 * have happened or not. A rename within one directory is one step, from one directory to another it is two names, each
 * safe with the sync of its own directory.
 */
import { cp, lstat, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { type LastWrite, tear } from './tear.ts';
import type { TraceLine } from './trace/format.ts';

/** Which of the names that no sync of their directory made safe are on the disk: none, all, or those up to some time. */
export type Names = 'none' | 'all' | 'some';
/** What is on the disk of bytes that no sync made safe: nothing, or all but a part of each file's last write. */
export type Bytes = 'lost' | 'torn';

interface FileNode {
  readonly kind: 'file';
  /** The copy of its safe content; null for none. */
  safe: string | null;
  /** Since the last sync. */
  dirty: boolean;
  last: LastWrite | undefined;
}

interface DirectoryNode {
  readonly kind: 'directory';
  now: ReadonlyMap<string, Node>;
  safe: ReadonlyMap<string, Node>;
  /** When it was last synced, and every state since the start with its time. */
  synced: number;
  readonly history: { readonly time: number; readonly names: ReadonlyMap<string, Node> }[];
}

type Node = FileNode | DirectoryNode;

interface Pending {
  readonly line: Extract<TraceLine, { type: 'begin' }>;
  /** Of the sync of a directory: its names when it began. */
  readonly names?: ReadonlyMap<string, Node>;
  /** Of the sync of a file: the write that it covers at least. */
  readonly last?: LastWrite | undefined;
}

/** Some directories and what is safe of them; everything that is there at first is. */
export class Disk {
  readonly #copies: string;
  readonly #roots = new Map<string, DirectoryNode>();
  readonly #pending = new Map<string, Pending>();
  readonly #handles = new Map<string, Node>();
  #time = 0;

  /** @param copies - the directory for the content of files at their syncs, the traced process's and those at first */
  private constructor(copies: string) {
    this.#copies = copies;
  }

  static async of(roots: readonly string[], copies: string): Promise<Disk> {
    const disk = new Disk(copies);
    for (const [index, root] of roots.entries()) {
      await cp(root, join(copies, `first-${index}`), { recursive: true });
      disk.#roots.set(root, await disk.#read(join(copies, `first-${index}`)));
    }
    return disk;
  }

  async #read(path: string): Promise<DirectoryNode> {
    const names = new Map<string, Node>();
    for (const entry of await readdir(path, { withFileTypes: true })) {
      const inside = join(path, entry.name);
      names.set(
        entry.name,
        entry.isDirectory()
          ? await this.#read(inside)
          : { kind: 'file', safe: relative(this.#copies, inside), dirty: false, last: undefined },
      );
    }
    return directory(names);
  }

  /** Follows the process by its trace. */
  follow(lines: Iterable<TraceLine>): void {
    for (const line of lines) {
      if (line.type === 'begin') this.#pending.set(line.id, this.#begun(line));
      else if (line.type === 'end') {
        const pending = this.#pending.get(line.id)!;
        this.#pending.delete(line.id);
        if (line.ok) this.#ended(pending, line);
      }
    }
  }

  #begun(line: Pending['line']): Pending {
    const node = line.handle === undefined ? undefined : this.#handles.get(line.handle);
    if (line.op !== 'sync' || node === undefined) return { line };
    return node.kind === 'directory' ? { line, names: node.now } : { line, last: node.last };
  }

  #ended({ line, names, last }: Pending, end: Extract<TraceLine, { type: 'end' }>): void {
    const { op, path, to } = line;
    this.#time++;
    if (op === 'open') this.#opened(path, end);
    else if (op === 'mkdir') this.#put(path, directory(new Map()));
    else if (op === 'unlink' || op === 'rmdir') this.#drop(path);
    else if (op === 'link') this.#put(to!, this.#find(path)!);
    else if (op === 'rename') this.#move(path, to!);
    else {
      const node = this.#handles.get(line.handle!);
      if (node === undefined) throw new Error(`${op} of a file whose opening is not in the trace: ${path}`);
      if (node.kind === 'directory') {
        node.safe = names!;
        node.synced = this.#time;
      } else if (op === 'sync') {
        node.safe = end.copy ?? node.safe;
        // A write that came meanwhile may be in the copy or not: it counts as not safe.
        node.dirty = node.last !== last;
        if (!node.dirty) node.last = undefined;
      } else {
        node.dirty = true;
        node.last = op === 'write' ? { from: end.from!, until: end.until! } : undefined;
      }
    }
  }

  #opened(path: string, end: Extract<TraceLine, { type: 'end' }>): void {
    let node = this.#find(path);
    if (end.created === true || node === undefined) {
      node = { kind: 'file', safe: null, dirty: false, last: undefined };
      this.#put(path, node);
    }
    if (end.truncated === true && node.kind === 'file') {
      node.dirty = true;
      node.last = undefined;
    }
    this.#handles.set(end.handle!, node);
  }

  #move(from: string, to: string): void {
    const node = this.#find(from)!;
    if (dirname(from) === dirname(to)) {
      const parent = this.#parent(from);
      const names = new Map(parent.now);
      names.delete(basename(from));
      this.#change(parent, names.set(basename(to), node));
    } else {
      this.#put(to, node);
      this.#drop(from);
    }
  }

  #put(path: string, node: Node): void {
    const parent = this.#parent(path);
    this.#change(parent, new Map(parent.now).set(basename(path), node));
  }

  #drop(path: string): void {
    const parent = this.#parent(path);
    const names = new Map(parent.now);
    names.delete(basename(path));
    this.#change(parent, names);
  }

  #change(node: DirectoryNode, names: ReadonlyMap<string, Node>): void {
    node.now = names;
    node.history.push({ time: this.#time, names });
  }

  #parent(path: string): DirectoryNode {
    const node = this.#find(dirname(path));
    if (node?.kind !== 'directory') throw new Error(`the trace has no directory ${dirname(path)}`);
    return node;
  }

  #find(path: string): Node | undefined {
    for (const [root, node] of this.#roots) {
      if (path === root) return node;
      if (!path.startsWith(root + sep)) continue;
      let at: Node | undefined = node;
      for (const name of relative(root, path).split(sep)) at = at?.kind === 'directory' ? at.now.get(name) : undefined;
      return at;
    }
    return undefined;
  }

  /**
   * Paths that are there and that the trace does not know, or the other way round, apart from what was going on when the
   * process ended: a trace that misses something proves nothing.
   */
  async differences(): Promise<string[]> {
    const uncertain = [...this.#pending.values()].flatMap(({ line: { path, to } }) => [path, to ?? path]);
    const found: string[] = [];
    const compare = async (path: string, names: ReadonlyMap<string, Node>): Promise<void> => {
      const entries = await readdir(path, { withFileTypes: true });
      for (const name of new Set([...entries.map(({ name }) => name), ...names.keys()])) {
        const inside = join(path, name);
        if (uncertain.includes(inside)) continue;
        const [entry, node] = [entries.find((one) => one.name === name), names.get(name)];
        if (entry?.isDirectory() && node?.kind === 'directory') await compare(inside, node.now);
        else if (!entry?.isFile() || node?.kind !== 'file') found.push(inside);
      }
    };
    for (const [root, node] of this.#roots) await compare(root, node.now);
    return found;
  }

  /**
   * Makes the directories what the disk may hold when the power fails now. The process must be gone.
   *
   * @param draw - from 0 to 1, for what is left to chance
   */
  async losePower(mode: { names: Names; bytes: Bytes }, draw: () => number): Promise<void> {
    const until = mode.names === 'none' ? 0 : mode.names === 'all' ? this.#time : Math.floor(draw() * (this.#time + 1));
    const survivors: { path: string; bytes: Uint8Array | null; mode: number }[] = [];
    const paths = new Map<Node, string>();
    const locate = (path: string, names: ReadonlyMap<string, Node>): void => {
      for (const [name, node] of names) {
        paths.set(node, join(path, name));
        if (node.kind === 'directory') locate(join(path, name), node.now);
      }
    };
    for (const [root, node] of this.#roots) locate(root, node.now);
    const collect = async (path: string, node: DirectoryNode): Promise<void> => {
      for (const [name, child] of surviving(node, until)) {
        const inside = join(path, name);
        const now = paths.get(child);
        const info = now === undefined ? undefined : await lstat(now).catch(() => undefined);
        if (child.kind === 'directory') {
          survivors.push({ path: inside, bytes: null, mode: info?.mode ?? 0o700 });
          await collect(inside, child);
        } else {
          const bytes = await this.#content(child, info === undefined ? undefined : now, mode.bytes, draw);
          survivors.push({ path: inside, bytes, mode: info?.mode ?? 0o600 });
        }
      }
    };
    for (const [root, node] of this.#roots) await collect(root, node);
    for (const root of this.#roots.keys()) {
      for (const name of await readdir(root)) await rm(join(root, name), { recursive: true });
    }
    for (const { path, bytes, mode } of survivors) {
      if (bytes === null) await mkdir(path, { mode: mode & 0o777 });
      else await writeFile(path, bytes, { mode: mode & 0o777 });
    }
  }

  async #content(node: FileNode, path: string | undefined, mode: Bytes, draw: () => number): Promise<Uint8Array> {
    const safe = node.safe === null ? new Uint8Array() : await readFile(join(this.#copies, node.safe));
    if (mode === 'lost' || path === undefined || !node.dirty) return safe;
    const now = await readFile(path);
    if (node.last === undefined) return draw() < 0.5 ? safe : now;
    return tear({ safe, now, last: node.last }, draw);
  }
}

function directory(names: ReadonlyMap<string, Node>): DirectoryNode {
  return { kind: 'directory', now: names, safe: names, synced: 0, history: [] };
}

/** The names as they were at a time, or as they were synced where that was later. */
function surviving({ safe, synced, history }: DirectoryNode, time: number): ReadonlyMap<string, Node> {
  const last = history.findLast((state) => state.time <= time);
  return last === undefined || last.time <= synced ? safe : last.names;
}
