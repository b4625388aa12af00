import type { FileHandle } from 'node:fs/promises';
import { open, rename, rm } from 'node:fs/promises';
import { tempSibling } from '../../src/durable.ts';
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
import { type Found, readSegment, type SegmentContent } from './journal-reading.ts';

/** Bytes that a copy gathers before it writes them. */
const COPY_BYTES = 2 ** 20;

/** Where an entry lies in the segment. */
interface Place {
  readonly at: number;
  /** Of the body, in bytes. */
  readonly length: number;
}

/** One file of the journal, and where the entries that count lie in it. One call that writes at a time. */
export class Segment {
  readonly path: string;
  #size = 0;
  /** Bytes of entries that count. */
  #live = 0;
  readonly #places = new Map<string, Place>();
  /** Names of flushed entries that no mark names yet. */
  #unmarked: readonly string[] = [];
  /** A write failed: what it left behind the end is cut before the next. */
  #torn = false;

  constructor(options: { path: string }) {
    this.path = options.path;
  }

  /** Up to the end of the last entry that is flushed, in bytes. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of entries that count. */
  get live(): number {
    return this.#live;
  }

  /** Whether there are flushed entries that no mark names yet. */
  get hasUnmarked(): boolean {
    return this.#unmarked.length > 0;
  }

  /** Names of the entries that count. */
  names(): Iterable<string> {
    return this.#places.keys();
  }

  has(name: string): boolean {
    return this.#places.has(name);
  }

  /** The body of an entry that counts; undefined when it is damaged. */
  async body(name: string): Promise<Buffer | undefined> {
    const place = this.#places.get(name);
    const bytes = place && (await readAt(this.path, place).catch(ignoreMissing));
    const header = bytes && readHeader(bytes, 0);
    const body = bytes?.subarray(ENTRY_HEADER_BYTES);
    return header !== undefined && body !== undefined && bodyHolds(header, body) ? body : undefined;
  }

  /** Reads all of the file and changes nothing in it. */
  async read(found: Found): Promise<SegmentContent> {
    const file = await open(this.path, 'r');
    try {
      const content = await readSegment(file, (entry, at) => {
        this.#note(entry, at);
        found(entry);
      });
      this.#size = content.end;
      return content;
    } finally {
      await file.close();
    }
  }

  /** Makes it ready for `append` after `read`: cuts what does not hold behind its end. */
  async mend({ end, length, unmarked }: SegmentContent): Promise<void> {
    this.#unmarked = unmarked;
    // What nobody flushed yet shall not be told as flushed by the next mark.
    if (end === length && unmarked.length === 0) return;
    const file = await open(this.path, 'r+');
    try {
      await file.truncate(this.#size);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /**
   * Appends and flushes, behind a mark that names what was flushed before. What it fails to write does not count, whatever
   * of it is in the file.
   */
  async append(entries: readonly JournalEntry[]): Promise<void> {
    const all = this.#unmarked.length === 0 ? entries : [markEntry(this.#size, this.#unmarked), ...entries];
    if (all.length === 0) return;
    const frames = all.map(encodeEntry);
    const bytes = Buffer.concat(frames);
    // Opened for each write: one that goes to a file without a name would be lost without a word.
    const file = await open(this.path, 'r+');
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

  /** Makes a segment of the entries that count alone. Its content is flushed; its name is not yet. */
  async copyTo(path: string): Promise<Segment> {
    const copy = new Segment({ path });
    const temp = tempSibling(path);
    const places = [...this.#places].sort(([, a], [, b]) => a.at - b.at);
    copy.#size = SEGMENT_MAGIC.length;
    const source = await open(this.path, 'r');
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
          copy.#places.set(name, { at: copy.#size, length });
          copy.#size += bytes.length;
          copy.#live += bytes.length;
          gathered += bytes.length;
          if (gathered >= COPY_BYTES) await put();
        }
        // Without names: what is damaged in it later is told by its headers.
        const mark = encodeEntry(markEntry(copy.#size, []));
        chunks.push(mark);
        copy.#size += mark.length;
        await put();
        await out.sync();
      } finally {
        await out.close();
      }
      await rename(temp, path);
    } catch (error) {
      await rm(temp, { force: true });
      throw error;
    } finally {
      await source.close();
    }
    return copy;
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
