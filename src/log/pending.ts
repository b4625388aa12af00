import type { SignedRecord } from './record-types.ts';

/** Bounds of what waits for a parent or a payload. A record takes at most some 10 KiB of memory. */
export interface PendingLimits {
  /** Most waiting records of one author. */
  readonly perAuthor: number;
  /** Most waiting records that one source (a peer) brought. */
  readonly perSource: number;
  /** Most waiting records in all. */
  readonly total: number;
  /** Milliseconds after which a waiting record is dropped; it may come again. */
  readonly expiryMs: number;
  /** Most bytes of payloads that are stored or fetched for records whose parents are not all held. */
  readonly payloadBytes: number;
}

/** An author publishes one record at a time: a thousand waiting ones are a long absence, more are a flood. */
export const MAX_PENDING_PER_AUTHOR = 1024;
/** A quarter of the pool: no single peer can fill it. */
export const MAX_PENDING_PER_SOURCE = 2048;
/** About 80 MiB at worst. */
export const MAX_PENDING = 8192;
/** One hour: what nobody could supply by then comes back through sync, if anybody has it. */
export const PENDING_EXPIRY_MS = 3_600_000;
/**
 * One GiB of disk. A record whose parents are all held is not counted: its payload makes it held, and the budgets bound
 * that. So the bound holds up nobody's next update, only how far ahead of it a node fetches.
 */
export const MAX_PENDING_PAYLOAD_BYTES = 2 ** 30;

export const DEFAULT_PENDING_LIMITS: PendingLimits = {
  perAuthor: MAX_PENDING_PER_AUTHOR,
  perSource: MAX_PENDING_PER_SOURCE,
  total: MAX_PENDING,
  expiryMs: PENDING_EXPIRY_MS,
  payloadBytes: MAX_PENDING_PAYLOAD_BYTES,
};

/** A record that waits. */
export interface Waiting {
  readonly key: string;
  readonly signed: SignedRecord;
  /** Hex of the author's key. */
  readonly author: string;
  /** Who brought it; undefined for the node itself, which has no bound of its own. */
  readonly source: string | undefined;
  /** Milliseconds, by the log's clock. */
  readonly since: number;
}

/**
 * The bounded pool of waiting records.
 *
 * When an author's share is full, its records with the lowest `seq` stay: they can be held first. When a source's
 * share is full, its newcomer is refused. When the pool is full, the oldest record of the source with the most records
 * makes room, unless the newcomer's own source has as many: then the newcomer is refused.
 */
export class PendingPool {
  readonly #limits: PendingLimits;
  readonly #waiting = new Map<string, Waiting>();
  readonly #authors = new Map<string, Set<Waiting>>();
  readonly #sources = new Map<string | undefined, Set<Waiting>>();

  constructor(limits: PendingLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#waiting.size;
  }

  get(key: string): Waiting | undefined {
    return this.#waiting.get(key);
  }

  /** Those of one author, in order of arrival. */
  ofAuthor(author: string): ReadonlySet<Waiting> {
    return this.#authors.get(author) ?? NONE;
  }

  /** In order of arrival. */
  values(): IterableIterator<Waiting> {
    return this.#waiting.values();
  }

  /** Which record must be removed for the newcomer to enter (`none` when there is room), or null: it is refused. */
  roomFor(newcomer: Waiting): Waiting | 'none' | null {
    const ofSource = this.#sources.get(newcomer.source)?.size ?? 0;
    if (newcomer.source !== undefined && ofSource >= this.#limits.perSource) return null;
    const ofAuthor = this.#authors.get(newcomer.author);
    if (ofAuthor !== undefined && ofAuthor.size >= this.#limits.perAuthor) {
      let last: Waiting | undefined;
      for (const waiting of ofAuthor) {
        if (last === undefined || waiting.signed.record.seq >= last.signed.record.seq) last = waiting;
      }
      return last !== undefined && last.signed.record.seq > newcomer.signed.record.seq ? last : null;
    }
    if (this.#waiting.size < this.#limits.total) return 'none';
    let largest: Set<Waiting> | undefined;
    for (const set of this.#sources.values()) if (largest === undefined || set.size > largest.size) largest = set;
    if (largest === undefined || ofSource >= largest.size) return null;
    const [oldest] = largest;
    return oldest ?? null;
  }

  add(waiting: Waiting): void {
    this.#waiting.set(waiting.key, waiting);
    put(this.#authors, waiting.author, waiting);
    put(this.#sources, waiting.source, waiting);
  }

  remove(key: string): void {
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) return;
    this.#waiting.delete(key);
    take(this.#authors, waiting.author, waiting);
    take(this.#sources, waiting.source, waiting);
  }

  /** Records whose time is over. They are in order of arrival, so the first that is not ends the search. */
  expired(now: number): Waiting[] {
    const over: Waiting[] = [];
    for (const waiting of this.#waiting.values()) {
      if (now - waiting.since < this.#limits.expiryMs) break;
      over.push(waiting);
    }
    return over;
  }
}

const NONE: ReadonlySet<Waiting> = new Set();

function put<K>(sets: Map<K, Set<Waiting>>, key: K, waiting: Waiting): void {
  const set = sets.get(key);
  if (set === undefined) sets.set(key, new Set([waiting]));
  else set.add(waiting);
}

function take<K>(sets: Map<K, Set<Waiting>>, key: K, waiting: Waiting): void {
  const set = sets.get(key);
  set?.delete(waiting);
  if (set?.size === 0) sets.delete(key);
}
