import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fsyncDir, makeDirectoryDurably, removeTempSiblings, writeFileDurably } from '../../src/durable.ts';
import { NodeError } from '../errors.ts';
import { ignoreMissing } from '../files.ts';
import {
  encodeEntry,
  entryName,
  type JournalEntry,
  type JournalKind,
  KIND,
  markEntry,
  SEGMENT_MAGIC,
} from './journal-format.ts';
import type { Damage, Found } from './journal-reading.ts';
import { Segment } from './journal-segment.ts';

/** A segment is written anew when at least this many of its bytes are dead, and more than are alive. One MiB. */
export const MIN_DEAD_BYTES = 2 ** 20;
const SEGMENT_NAME = /^\d{10}\.journal$/;

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
  #segment: Segment;
  /** The segment before this one, as long as the name of this one is not known to be flushed. */
  #replaced: string | undefined;
  /** Waits for the next write that somebody asks for. */
  #lazy: JournalEntry[] = [];
  /** What the write under way takes along of them. */
  #writing: JournalEntry[] = [];
  #queue: Queued[] = [];
  #running: Promise<void> | undefined;

  constructor(options: { directory: string }) {
    this.#directory = options.directory;
    this.#segment = new Segment({ path: this.#path(0) });
  }

  /** Size of the segment, in bytes. */
  get size(): number {
    return this.#segment.size;
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
    this.#take(numbers.at(-1)!);
    // A rewrite is complete before it gets its name: what is older was not removed any more.
    if (numbers.length > 1) await fsyncDir(this.#directory);
    for (const number of numbers.slice(0, -1)) await rm(this.#path(number), { force: true });
    const read = await this.#segment.read(found);
    if (read.holes) await this.#rewrite();
    else await this.#segment.mend(read);
    return read.damage;
  }

  /** Reads everything and changes nothing, so that it can look at the journal of a running daemon. */
  async load(found: Found): Promise<Damage[]> {
    const numbers = await segmentNumbers(this.#directory).catch(ignoreMissing);
    if (numbers === undefined || numbers.length === 0) return [];
    this.#take(numbers.at(-1)!);
    const { damage } = await this.#segment.read(found);
    return damage;
  }

  has(kind: JournalKind, digest: Uint8Array): boolean {
    return this.#segment.has(entryName(kind, digest));
  }

  /** Names of the entries that count, of one kind, as `digestOfName` reads them. */
  *names(kind: JournalKind): Generator<string> {
    const first = String.fromCharCode(kind);
    for (const name of this.#segment.names()) if (name[0] === first) yield name;
  }

  /** The body of an entry on disk. @throws NodeError `OBJECT_CORRUPT` when it is damaged */
  async get(kind: JournalKind, digest: Uint8Array): Promise<Buffer | undefined> {
    const waiting = [...this.#writing, ...this.#lazy].findLast(
      (entry) =>
        (entry.kind === kind || (entry.kind === KIND.removed && entry.body[0] === kind)) &&
        Buffer.compare(entry.digest, digest) === 0,
    );
    if (waiting !== undefined) return waiting.kind === kind ? Buffer.from(waiting.body) : undefined;
    const name = entryName(kind, digest);
    for (let attempt = 0; ; attempt++) {
      const segment = this.#segment;
      if (!segment.has(name)) return undefined;
      const body = await segment.body(name);
      // A rewrite may have moved everything meanwhile.
      if (segment !== this.#segment && attempt < 10) continue;
      if (body !== undefined) return body;
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
    if (this.#lazy.length > 0 || this.#segment.hasUnmarked) await this.append([], { mark: true });
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
        await this.#removeReplaced();
        await this.#segment.append([...this.#writing, ...batch.flatMap(({ entries }) => entries)]);
        if (batch.some(({ mark }) => mark)) await this.#segment.append([]);
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
      const { size, live } = this.#segment;
      const dead = size - live;
      // What cannot be rewritten now is tried again after the next write.
      if (dead >= MIN_DEAD_BYTES && dead > live) await this.#rewrite().catch(() => {});
    }
    // In the same turn as the last look: who comes now starts anew.
    this.#running = undefined;
  }

  /** Copies what counts to the next segment. */
  async #rewrite(): Promise<void> {
    await this.#removeReplaced();
    const old = this.#segment;
    const copy = await old.copyTo(this.#path(this.#number + 1));
    // From here on a restart reads the copy: whatever fails now, nothing more may go to the old one.
    this.#number++;
    this.#segment = copy;
    this.#replaced = old.path;
    await this.#removeReplaced();
  }

  /** The old segment stays until the name of the new one is flushed; nothing is acknowledged before that. */
  async #removeReplaced(): Promise<void> {
    if (this.#replaced === undefined) return;
    await fsyncDir(this.#directory);
    await rm(this.#replaced, { force: true });
    this.#replaced = undefined;
  }

  #take(number: number): void {
    this.#number = number;
    this.#segment = new Segment({ path: this.#path(number) });
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
