import type { FileHandle } from 'node:fs/promises';
import { open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  fsyncDir,
  makeDirectoryDurably,
  removeTempSiblings,
  tempSibling,
  writeFileDurably,
} from '../../src/durable.ts';
import { NodeError } from '../errors.ts';
import { ignoreMissing } from '../files.ts';
import {
  bodyHolds,
  ENTRY_HEADER_BYTES,
  encodeEntry,
  entryName,
  type JournalEntry,
  type JournalKind,
  KIND,
  markEntry,
  readHeader,
  SEGMENT_MAGIC,
} from './journal-format.ts';
import { type Damage, type Found, readSegment } from './journal-reading.ts';

/** A segment is written anew when at least this many of its bytes are dead, and more than are alive. One MiB. */
export const MIN_DEAD_BYTES = 2 ** 20;
/** Bytes that a rewrite gathers before it writes them. */
const COPY_BYTES = 2 ** 20;
const SEGMENT_NAME = /^\d{10}\.journal$/;

/** Where an entry lies in the segment. */
export interface Place {
  readonly at: number;
  /** Of the body, in bytes. */
  readonly length: number;
}

interface Queued {
  readonly entries: readonly JournalEntry[];
  readonly mark: boolean;
  readonly rewrite: boolean;
  readonly done: PromiseWithResolvers<void>;
}

/**
 * Small facts in one file that is only appended to, found by kind and digest; the last one with a name counts. What is
 * appended while a write is under way goes into the next write together: one write and one flush for all of it.
 *
 * A mark tells what was flushed. After a crash, what does not check behind the last mark was never acknowledged and is cut;
 * before it, it is damage.
 */
export class Journal {
  readonly #directory: string;
  #number = 0;
  #size = 0;
  /** Bytes of entries that count. */
  #live = 0;
  readonly #places = new Map<string, Place>();
  /** Names of flushed entries that no mark names yet. */
  #unmarked: string[] = [];
  /** Waits for the next write that somebody asks for. */
  #lazy: JournalEntry[] = [];
  /** What the write under way takes along of them. */
  #writing: JournalEntry[] = [];
  #queue: Queued[] = [];
  #running: Promise<void> | undefined;
  /** A write failed: what it left behind the end is cut before the next. */
  #torn = false;

  constructor(options: { directory: string }) {
    this.#directory = options.directory;
  }

  /** Size of the segment, in bytes. */
  get size(): number {
    return this.#size;
  }

  /**
   * Reads everything once and mends the end of the file; makes the journal where there is none.
   *
   * @param found - is told every entry that counts at its place in the file; a later one with the same name replaces it
   * @returns what is damaged, and stays in the file
   */
  async open(found: Found): Promise<Damage[]> {
    await makeDirectoryDurably(this.#directory);
    await removeTempSiblings(this.#directory);
    const numbers = await segmentNumbers(this.#directory);
    if (numbers.length === 0) {
      await writeFileDurably(this.#path(1), SEGMENT_MAGIC);
      numbers.push(1);
    }
    this.#number = numbers.at(-1)!;
    // A rewrite is complete before it gets its name: what is older was not removed any more.
    for (const number of numbers.slice(0, -1)) await rm(this.#path(number), { force: true });
    const read = await this.#read(found);
    this.#unmarked = read.unmarked;
    this.#size = read.end;
    if (read.holes) await this.#rewrite();
    // What nobody flushed yet shall not be told as flushed by the next mark.
    else if (read.end < read.length || read.unmarked.length > 0) await this.#mendEnd();
    return read.damage;
  }

  /** Reads everything and changes nothing, so that it can look at the journal of a running daemon. */
  async load(found: Found): Promise<Damage[]> {
    const numbers = await segmentNumbers(this.#directory).catch(ignoreMissing);
    if (numbers === undefined || numbers.length === 0) return [];
    this.#number = numbers.at(-1)!;
    const read = await this.#read(found);
    this.#size = read.end;
    return read.damage;
  }

  has(kind: JournalKind, digest: Uint8Array): boolean {
    return this.#places.has(entryName(kind, digest));
  }

  /** Names of the entries that count, of one kind, as `digestOfName` reads them. */
  *names(kind: JournalKind): Generator<string> {
    const first = String.fromCharCode(kind);
    for (const name of this.#places.keys()) if (name[0] === first) yield name;
  }

  /** The body of an entry on disk. @throws NodeError `OBJECT_CORRUPT` when it is damaged */
  async get(kind: JournalKind, digest: Uint8Array): Promise<Buffer | undefined> {
    const waiting = [...this.#writing, ...this.#lazy].findLast(
      (entry) =>
        (entry.kind === kind || (entry.kind === KIND.removed && entry.body[0] === kind)) &&
        Buffer.compare(entry.digest, digest) === 0,
    );
    if (waiting !== undefined) return waiting.kind === kind ? Buffer.from(waiting.body) : undefined;
    for (let attempt = 0; ; attempt++) {
      const place = this.#places.get(entryName(kind, digest));
      if (place === undefined) return undefined;
      const number = this.#number;
      const bytes = await readAt(this.#path(number), place).catch(ignoreMissing);
      // A rewrite may have moved everything meanwhile.
      if (number !== this.#number && attempt < 10) continue;
      const header = bytes && readHeader(bytes, 0);
      const body = bytes?.subarray(ENTRY_HEADER_BYTES);
      if (header !== undefined && body !== undefined && bodyHolds(header, body)) return body;
      throw new NodeError('OBJECT_CORRUPT', 'a stored document is damaged: it will be fetched again', { kind });
    }
  }

  /** Takes entries that the next write takes along; until then they are lost with the process. */
  later(...entries: JournalEntry[]): void {
    this.#lazy.push(...entries);
  }

  /**
   * Appends entries: on disk when it returns, with everything that came before.
   *
   * @param mark - flush a mark at once, so that damage to these entries is never taken for a write that was not finished
   */
  append(entries: readonly JournalEntry[], { mark = false } = {}): Promise<void> {
    return this.#enqueue({ entries, mark, rewrite: false });
  }

  /** Writes what waits, and a mark behind it. */
  async close(): Promise<void> {
    if (this.#lazy.length + this.#unmarked.length > 0) await this.append([], { mark: true });
    await this.#running;
  }

  /** Writes a segment of the entries that count alone, in the place of this one. */
  compact(): Promise<void> {
    return this.#enqueue({ entries: [], mark: false, rewrite: true });
  }

  #enqueue(asked: Omit<Queued, 'done'>): Promise<void> {
    const done = Promise.withResolvers<void>();
    this.#queue.push({ ...asked, done });
    this.#running ??= this.#run();
    return done.promise;
  }

  async #run(): Promise<void> {
    // Those that come in the same turn go along.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const batch = this.#queue;
      this.#queue = [];
      this.#writing = this.#lazy;
      this.#lazy = [];
      try {
        await this.#write([...this.#writing, ...batch.flatMap(({ entries }) => entries)]);
        if (batch.some(({ mark }) => mark)) await this.#write([]);
        if (batch.some(({ rewrite }) => rewrite)) await this.#rewrite();
      } catch (error) {
        // They are facts about what is there: they go along with the next write that succeeds.
        this.#lazy = [...this.#writing, ...this.#lazy];
        this.#writing = [];
        for (const { done } of batch) done.reject(error);
        continue;
      }
      this.#writing = [];
      for (const { done } of batch) done.resolve();
      const dead = this.#size - this.#live;
      // What cannot be rewritten now is tried again after the next write.
      if (dead >= MIN_DEAD_BYTES && dead > this.#live) await this.#rewrite().catch(() => {});
    }
    // In the same turn as the last look: who comes now starts anew.
    this.#running = undefined;
  }

  /** Appends and flushes. What it fails to write does not count, whatever of it is in the file. */
  async #write(entries: readonly JournalEntry[]): Promise<void> {
    const all = this.#unmarked.length === 0 ? entries : [markEntry(this.#size, this.#unmarked), ...entries];
    if (all.length === 0) return;
    const frames = all.map(encodeEntry);
    const bytes = Buffer.concat(frames);
    // Opened for each write: one that goes to a file without a name would be lost without a word.
    const file = await open(this.#path(this.#number), 'r+');
    try {
      if (this.#torn) await file.truncate(this.#size);
      this.#torn = true;
      await writeAll(file, bytes, this.#size);
      await file.datasync();
      this.#torn = false;
    } finally {
      await file.close();
    }
    let at = this.#size;
    for (const [place, entry] of all.entries()) {
      this.#note(entry, at);
      at += frames[place]!.length;
    }
    this.#size = at;
    this.#unmarked = entries.map(({ kind, digest }) => entryName(kind, digest));
  }

  #note({ kind, digest, body }: JournalEntry, at: number): void {
    if (kind === KIND.mark) return;
    const name = entryName(kind === KIND.removed ? (body[0] as JournalKind) : kind, digest);
    const before = this.#places.get(name);
    if (before !== undefined) this.#live -= ENTRY_HEADER_BYTES + before.length;
    this.#places.delete(name);
    if (kind === KIND.removed) return;
    this.#places.set(name, { at, length: body.length });
    this.#live += ENTRY_HEADER_BYTES + body.length;
  }

  async #read(found: Found) {
    const file = await open(this.#path(this.#number), 'r');
    try {
      return await readSegment(file, (entry, at) => {
        this.#note(entry, at);
        found(entry);
      });
    } finally {
      await file.close();
    }
  }

  async #mendEnd(): Promise<void> {
    const file = await open(this.#path(this.#number), 'r+');
    try {
      await file.truncate(this.#size);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** Copies what counts to the next segment. The old one stays until the new one has its name. */
  async #rewrite(): Promise<void> {
    const target = this.#path(this.#number + 1);
    const temp = tempSibling(target);
    const places = [...this.#places].sort(([, a], [, b]) => a.at - b.at);
    const moved = new Map<string, Place>();
    let size = SEGMENT_MAGIC.length;
    const source = await open(this.#path(this.#number), 'r');
    try {
      const out = await open(temp, 'wx');
      try {
        let chunks: Buffer[] = [SEGMENT_MAGIC];
        let gathered = 0;
        const put = async () => {
          await out.writeFile(Buffer.concat(chunks));
          chunks = [];
          gathered = 0;
        };
        for (const [name, { at, length }] of places) {
          const bytes = Buffer.allocUnsafe(ENTRY_HEADER_BYTES + length);
          await source.read(bytes, 0, bytes.length, at);
          chunks.push(bytes);
          moved.set(name, { at: size, length });
          size += bytes.length;
          gathered += bytes.length;
          if (gathered >= COPY_BYTES) await put();
        }
        // Without names: what is damaged in it later is told by its headers.
        const mark = encodeEntry(markEntry(size, []));
        chunks.push(mark);
        size += mark.length;
        await put();
        await out.sync();
      } finally {
        await out.close();
      }
      await rename(temp, target);
    } catch (error) {
      await rm(temp, { force: true });
      throw error;
    } finally {
      await source.close();
    }
    await fsyncDir(this.#directory);
    const old = this.#path(this.#number);
    this.#number++;
    this.#size = size;
    this.#torn = false;
    this.#unmarked = [];
    this.#places.clear();
    this.#live = 0;
    for (const [name, place] of moved) {
      this.#places.set(name, place);
      this.#live += ENTRY_HEADER_BYTES + place.length;
    }
    await rm(old, { force: true });
  }

  #path(number: number): string {
    return segmentPath(this.#directory, number);
  }
}

/** Makes the first segment of a journal, whole and durable, with these entries. */
export async function createJournal(directory: string, entries: Iterable<JournalEntry>): Promise<void> {
  await makeDirectoryDurably(directory);
  const chunks: Buffer[] = [SEGMENT_MAGIC];
  let size = SEGMENT_MAGIC.length;
  for (const entry of entries) {
    const bytes = encodeEntry(entry);
    chunks.push(bytes);
    size += bytes.length;
  }
  chunks.push(encodeEntry(markEntry(size, [])));
  await writeFileDurably(segmentPath(directory, 1), Buffer.concat(chunks));
}

/** The file of a segment. */
export function segmentPath(directory: string, number: number): string {
  return join(directory, `${String(number).padStart(10, '0')}.journal`);
}

async function segmentNumbers(directory: string): Promise<number[]> {
  const names = (await readdir(directory)).filter((name) => SEGMENT_NAME.test(name));
  return names.map((name) => Number.parseInt(name, 10)).sort((a, b) => a - b);
}

async function readAt(path: string, { at, length }: Place): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const bytes = Buffer.alloc(ENTRY_HEADER_BYTES + length);
    const { bytesRead } = await file.read(bytes, 0, bytes.length, at);
    return bytes.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** A disk that fills up takes a part and says so only the next time. */
async function writeAll(file: FileHandle, bytes: Buffer, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
  }
}
