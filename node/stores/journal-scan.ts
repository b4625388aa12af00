import type { FileHandle } from 'node:fs/promises';
import { Turns } from '../turns.ts';
import { bodyHolds, ENTRY_HEADER_BYTES, type EntryHeader, findMagic, readHeader } from './journal-format.ts';

/** Bytes read at once. */
const READ_BYTES = 1 << 20;

/** What a scan comes across, in the order of the file. */
export type Scanned =
  /** The body is a view that the next step of the scan overwrites. */
  | { readonly what: 'entry'; readonly at: number; readonly header: EntryHeader; readonly body: Buffer }
  /** The header holds and the body does not. */
  | { readonly what: 'broken'; readonly at: number; readonly header: EntryHeader; readonly body: Buffer }
  /** No header is to be seen from here to the next that is. */
  | { readonly what: 'garbage'; readonly at: number; readonly bytes: Buffer };

/**
 * Reads a segment from `from` to its end, once and in order. Where nothing checks, it goes on at the next header that does.
 * What it gives is a view of its window, good until the next step.
 */
export async function* scanJournal(file: FileHandle, from: number): AsyncGenerator<Scanned> {
  const window = new Window(file, from);
  const turns = new Turns();
  for (;;) {
    if (!(await window.fill(ENTRY_HEADER_BYTES)) && window.length === 0) return;
    const at = window.position;
    const header = readHeader(window.bytes, 0);
    if (header === undefined) {
      yield { what: 'garbage', at, bytes: await skipGarbage(window) };
    } else {
      const whole = await window.fill(ENTRY_HEADER_BYTES + header.length);
      // The window may have moved: the header's digest is a view of it.
      const now = readHeader(window.bytes, 0)!;
      const body = window.bytes.subarray(ENTRY_HEADER_BYTES, ENTRY_HEADER_BYTES + header.length);
      const good = whole && bodyHolds(now, body);
      yield { what: good ? 'entry' : 'broken', at, header: now, body };
      window.skip(ENTRY_HEADER_BYTES + body.length);
    }
    await turns.next();
  }
}

/** Moves the window to the next header that checks, or to the end; returns what lay before it. */
async function skipGarbage(window: Window): Promise<Buffer> {
  const skipped: Buffer[] = [];
  const skip = (count: number): void => {
    skipped.push(Buffer.from(window.bytes.subarray(0, count)));
    window.skip(count);
  };
  for (let from = 1; ; from = 0) {
    const more = await window.fill(READ_BYTES);
    let next = findMagic(window.bytes, from);
    while (next >= 0 && readHeader(window.bytes, next) === undefined) next = findMagic(window.bytes, next + 1);
    if (next >= 0) skip(next);
    else if (!more) skip(window.length);
    if (next >= 0 || !more) return Buffer.concat(skipped);
    // The rest may be the beginning of a header.
    skip(window.length - (ENTRY_HEADER_BYTES - 1));
  }
}

/** A part of a file in memory, that moves forward. */
class Window {
  readonly #file: FileHandle;
  #buffer = Buffer.allocUnsafe(2 * READ_BYTES);
  #start = 0;
  #end = 0;
  #position: number;
  #ended = false;

  constructor(file: FileHandle, position: number) {
    this.#file = file;
    this.#position = position;
  }

  /** Where in the file the window begins. */
  get position(): number {
    return this.#position;
  }

  get length(): number {
    return this.#end - this.#start;
  }

  get bytes(): Buffer {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  skip(count: number): void {
    this.#start += count;
    this.#position += count;
  }

  /** Reads on until there are so many bytes; false at the end of the file. */
  async fill(count: number): Promise<boolean> {
    while (this.length < count && !this.#ended) {
      if (this.#start > 0 && this.#end + READ_BYTES > this.#buffer.length) {
        this.#buffer.copyWithin(0, this.#start, this.#end);
        this.#end -= this.#start;
        this.#start = 0;
      }
      if (this.#end + READ_BYTES > this.#buffer.length) {
        const larger = Buffer.allocUnsafe(Math.max(2 * this.#buffer.length, this.#end + READ_BYTES));
        this.#buffer.copy(larger, 0, 0, this.#end);
        this.#buffer = larger;
      }
      const { bytesRead } = await this.#file.read(this.#buffer, this.#end, READ_BYTES, this.#position + this.length);
      this.#end += bytesRead;
      if (bytesRead === 0) this.#ended = true;
    }
    return this.length >= count;
  }
}
