import type { CID } from 'multiformats/cid';
import { errorCode } from '../../src/errors.ts';
import { entryCharter, entryParents, idKey, idText, isNewer, type LogEntry, openEntry } from '../../src/log/index.ts';
import { ProtocolError } from '../errors.ts';
import { Turns } from '../turns.ts';
import type { Own } from './comparison.ts';
import type { LogSource } from './index.ts';
import type { Wanted } from './wanted.ts';

export interface Page {
  readonly entries: readonly Uint8Array[];
  readonly done: boolean;
}

/** Checks what one peer sends: every entry was asked for, decodes, comes once, and after its parents. */
export class Intake {
  readonly #source: LogSource;
  readonly #own: Own;
  readonly #wanted: Wanted;
  readonly #peer: string;
  readonly #seen = new Set<string>();
  readonly #unread = new Set<string>();
  /** Entries that a newer program may know, and what depends on them. */
  readonly unreadable: CID[] = [];
  received = 0;
  refused = 0;
  complete = false;

  constructor(source: LogSource, own: Own, wanted: Wanted, peer: string) {
    this.#source = source;
    this.#own = own;
    this.#wanted = wanted;
    this.#peer = peer;
  }

  /** Takes back what the sink had no room for. */
  refuse(ids: readonly CID[]): void {
    this.refused += ids.length;
    this.received -= ids.length;
    this.complete = false;
  }

  async *check(pages: AsyncIterable<Page>): AsyncGenerator<readonly LogEntry[]> {
    const turns = new Turns();
    for await (const page of pages) {
      const fresh: LogEntry[] = [];
      for (const bytes of page.entries) {
        const entry = this.#take(bytes);
        if (entry !== undefined && !this.#source.known.has(entry.id)) fresh.push(entry);
        // A page of signatures takes a tenth of a second.
        await turns.next();
      }
      this.received += fresh.length;
      if (page.done) this.complete = true;
      yield fresh;
    }
  }

  /** Undefined for what cannot be read here or depends on such an entry. */
  #take(bytes: Uint8Array): LogEntry | undefined {
    // A copy: entries are kept, and a view would keep the whole page.
    const { id, read } = this.#read(() => openEntry(new Uint8Array(bytes)));
    const key = idKey(id);
    if (this.#seen.has(key)) {
      throw new ProtocolError('OUT_OF_ORDER', `${this.#peer} sent entry ${id} again.`, this.#fields(id));
    }
    // Before its signature costs anything.
    if (!this.#wanted.take(id)) {
      const message = `${this.#peer} sent entry ${id}, which was not asked for.`;
      throw new ProtocolError('BAD_RECORD', message, this.#fields(id));
    }
    this.#seen.add(key);
    const entry = this.#decode(read);
    if (entry !== undefined && !entryCharter(entry).equals(this.#source.charter)) {
      const message = `${this.#peer} sent an entry of another community.`;
      throw new ProtocolError('BAD_RECORD', message, this.#fields(id));
    }
    if (entry !== undefined && this.#follows(entry)) return entry;
    this.unreadable.push(id);
    this.#unread.add(key);
    return undefined;
  }

  /** False for an entry that depends on one that cannot be read here. */
  #follows(entry: LogEntry): boolean {
    const { known, passedOver } = this.#own;
    for (const parent of entryParents(entry)) {
      const key = idKey(parent);
      if (this.#unread.has(key)) return false;
      if (this.#seen.has(key) || known.has(parent) || passedOver.has(parent) || this.#source.known.has(parent))
        continue;
      const message = `${this.#peer} sent entry ${entry.id} before its parent ${parent}.`;
      throw new ProtocolError('OUT_OF_ORDER', message, { ...this.#fields(entry.id), parent: idText(parent) });
    }
    return true;
  }

  #decode(read: () => LogEntry): LogEntry | undefined {
    return this.#read(() => {
      try {
        return read();
      } catch (error) {
        if (isNewer(error)) return undefined;
        throw error;
      }
    });
  }

  #read<T>(read: () => T): T {
    try {
      return read();
    } catch (cause) {
      const fields = { peer: this.#peer, reason: errorCode(cause) };
      throw new ProtocolError('BAD_RECORD', `${this.#peer} sent a bad entry: ${errorCode(cause)}.`, fields, { cause });
    }
  }

  #fields(record: CID): { peer: string; record: string } {
    return { peer: this.#peer, record: idText(record) };
  }
}
