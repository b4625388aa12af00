import type { CID } from 'multiformats/cid';
import { compareBytes, idKey } from './canonical.ts';
import { authorKey, Chains, type Equivocation } from './chains.ts';
import type { Charter } from './charter.ts';
import { LogError } from './errors.ts';
import { PayloadFacts } from './payloads.ts';
import { DEFAULT_PENDING_LIMITS, type PendingLimits, PendingPool, type Waiting } from './pending.ts';
import { MAX_PARENTS, type SignedRecord } from './record.ts';
import { type ChainTotals, checkValidity, type InvalidCode, type Validity, type ValidityContext } from './validity.ts';

/** Ids of invalid records that are remembered, at most: their descendants are then refused at once. */
export const MAX_REMEMBERED_INVALID = 4096;

export interface LogOptions {
  readonly charter: Charter;
  /** The community id. */
  readonly charterId: CID;
  /** Milliseconds that never go back; `performance.now` when left out. */
  readonly now?: () => number;
  readonly limits?: Partial<PendingLimits>;
}

/** A record that left the log's memory without being held. */
export interface Dropped {
  readonly signed: SignedRecord;
  readonly reason: 'invalid' | 'evicted' | 'expired';
  /** With `invalid`. */
  readonly code?: InvalidCode;
  readonly message?: string;
}

/** What one call changed. */
export interface LogChange {
  /** Records that became held, parents before children. */
  readonly held: readonly SignedRecord[];
  /** Waiting records that were dropped. */
  readonly dropped: readonly Dropped[];
  /** Equivocations that were found, each once: two records are the proof, however many follow. */
  readonly equivocations: readonly Equivocation[];
}

export type AddResult =
  | { readonly outcome: 'held' | 'pending'; readonly change: LogChange }
  /** It was there already. */
  | { readonly outcome: 'known'; readonly state: 'held' | 'pending'; readonly change: LogChange }
  /** It is provably invalid and not kept. */
  | { readonly outcome: 'invalid'; readonly code: InvalidCode; readonly message: string; readonly change: LogChange }
  /**
   * It would have to wait, and there is no room; or it is one more of an author that equivocated and has used up its
   * budget over all branches. Nothing is known against it: it may come again.
   */
  | { readonly outcome: 'refused'; readonly change: LogChange };

/** A waiting record and what it waits for. */
export interface PendingInfo {
  readonly signed: SignedRecord;
  readonly source: string | undefined;
  /** Milliseconds, by the log's clock. */
  readonly since: number;
  /** Parents that were never seen. */
  readonly missingRecords: readonly CID[];
  /** Parents that wait themselves. */
  readonly pendingParents: readonly CID[];
  /** The size of its payload is unknown. */
  readonly missingManifest: boolean;
  /** The bytes of its payload are not stored. */
  readonly missingPayload: boolean;
}

/** What is to be fetched so that waiting records can be judged and held. Each id once. */
export interface Missing {
  readonly records: readonly CID[];
  /** Payloads whose manifest is needed first. */
  readonly manifests: readonly CID[];
  /** Payloads whose record is valid as far as its chain goes: worth their bytes. */
  readonly payloads: readonly CID[];
}

interface Entry {
  readonly key: string;
  readonly signed: SignedRecord;
  held: boolean;
  /** Null until the record is known to be valid. */
  totals: ChainTotals | null;
}

interface Change {
  held: SignedRecord[];
  dropped: Dropped[];
  equivocations: Equivocation[];
}

type Invalid = Validity & { verdict: 'invalid' };

/**
 * The index of one community's records, in memory: which are held, which wait and for what.
 *
 * It takes records whose signature was checked (`decodeSigned`) and word of payloads whose bytes were verified, in any
 * order, and does no input or output. What it says about held records follows from their set alone.
 */
export class Log {
  readonly #charter: Charter;
  readonly #now: () => number;
  readonly #context: ValidityContext;
  readonly #entries = new Map<string, Entry>();
  readonly #held = new Map<string, SignedRecord>();
  readonly #heads = new Map<string, SignedRecord>();
  /** Children by parent, held and waiting ones, also of parents never seen. */
  readonly #children = new Map<string, Set<string>>();
  readonly #invalid = new Map<string, Invalid>();
  readonly #payloads = new PayloadFacts();
  readonly #pool: PendingPool;
  readonly #payloadBytes: number;
  readonly #chains = new Chains();

  constructor(options: LogOptions) {
    this.#charter = options.charter;
    this.#now = options.now ?? (() => performance.now());
    const limits = { ...DEFAULT_PENDING_LIMITS, ...options.limits };
    this.#pool = new PendingPool(limits);
    this.#payloadBytes = limits.payloadBytes;
    this.#context = {
      charter: options.charter,
      charterId: options.charterId,
      record: (id) => {
        const key = idKey(id);
        if (this.#invalid.has(key)) return 'invalid';
        const entry = this.#entries.get(key);
        return entry && { author: entry.signed.record.author, seq: entry.signed.record.seq, totals: entry.totals };
      },
      payloadSize: (payload) => this.#payloads.size(idKey(payload)),
    };
  }

  get charter(): Charter {
    return this.#charter;
  }

  /** Number of held records. */
  get size(): number {
    return this.#held.size;
  }

  /** Number of waiting records. */
  get pendingSize(): number {
    return this.#pool.size;
  }

  /**
   * Adds a record whose signature was checked.
   *
   * @param source - who brought it (a peer id); left out for the node's own
   */
  addRecord(signed: SignedRecord, source?: string): AddResult {
    const change = newChange();
    this.#dropExpired(change);
    const key = idKey(signed.id);
    const known = this.#entries.get(key);
    if (known !== undefined) return { outcome: 'known', state: known.held ? 'held' : 'pending', change };
    const validity = this.#invalid.get(key) ?? checkValidity(signed.record, this.#context);
    if (validity.verdict === 'invalid') {
      this.#reject(key, validity, change);
      return { outcome: 'invalid', code: validity.code, message: validity.message, change };
    }
    if (this.#isExcess(key, signed)) return { outcome: 'refused', change };
    const entry: Entry = { key, signed, held: false, totals: validity.verdict === 'valid' ? validity.totals : null };
    if (!this.#complete(entry)) {
      const waiting: Waiting = { key, signed, author: authorKey(signed.record.author), source, since: this.#now() };
      const room = this.#pool.roomFor(waiting);
      if (room === null) return { outcome: 'refused', change };
      if (room !== 'none') this.#drop(room.key, { reason: 'evicted' }, change);
      this.#pool.add(waiting);
    }
    this.#insert(entry);
    this.#settle([key, ...(this.#children.get(key) ?? [])], change);
    if (entry.held) return { outcome: 'held', change };
    return { outcome: 'pending', change };
  }

  /** Notes the size of a payload by its verified manifest. */
  setManifest(payload: CID, size: number): LogChange {
    return this.#learn(payload, size, false);
  }

  /** Notes that all bytes of a payload are stored and match its id. */
  setPayload(payload: CID, size: number): LogChange {
    return this.#learn(payload, size, true);
  }

  /** Notes that the bytes of a payload are no longer stored. Payloads of held records are always there. */
  forgetPayload(payload: CID): void {
    this.#payloads.forget(idKey(payload));
  }

  /** Drops records that have waited too long. Adding a record does the same. */
  expire(): LogChange {
    const change = newChange();
    this.#dropExpired(change);
    return change;
  }

  /** Where a record stands. `invalid` is remembered for the last `MAX_REMEMBERED_INVALID` only. */
  state(id: CID): 'held' | 'pending' | 'invalid' | 'unknown' {
    const key = idKey(id);
    const entry = this.#entries.get(key);
    if (entry !== undefined) return entry.held ? 'held' : 'pending';
    return this.#invalid.has(key) ? 'invalid' : 'unknown';
  }

  /** A held record. */
  get(id: CID): SignedRecord | undefined {
    return this.#held.get(idKey(id));
  }

  /** All held records, parents before children. */
  held(): IterableIterator<SignedRecord> {
    return this.#held.values();
  }

  /** Held records without held children, ascending by bytes. */
  heads(): CID[] {
    return [...this.#heads.values()].map(({ id }) => id).sort((a, b) => compareBytes(a.bytes, b.bytes));
  }

  /** Held records that name this one as a parent, ascending by bytes. */
  children(id: CID): CID[] {
    const children: CID[] = [];
    for (const key of this.#children.get(idKey(id)) ?? []) {
      const child = this.#held.get(key);
      if (child !== undefined) children.push(child.id);
    }
    return children.sort((a, b) => compareBytes(a.bytes, b.bytes));
  }

  /** Held records among the ids and their ancestors, each once, in no order that means anything. */
  *ancestors(ids: Iterable<CID>): Generator<SignedRecord> {
    const seen = new Set<string>();
    const stack: CID[] = [...ids];
    for (let id = stack.pop(); id !== undefined; id = stack.pop()) {
      const key = idKey(id);
      const signed = this.#held.get(key);
      if (signed === undefined || seen.has(key)) continue;
      seen.add(key);
      yield signed;
      stack.push(...signed.record.parents);
    }
  }

  /** Held records that are neither among the ids nor their ancestors, parents before children: what a peer lacks. */
  *heldExcept(ids: Iterable<CID>): Generator<SignedRecord> {
    const theirs = new Set<string>();
    for (const { id } of this.ancestors(ids)) theirs.add(idKey(id));
    for (const [key, signed] of this.#held) if (!theirs.has(key)) yield signed;
  }

  /** Authors of held records. */
  authors(): Uint8Array[] {
    return this.#chains.authors();
  }

  /** An author's held records in ascending `seq`. */
  chain(author: Uint8Array): SignedRecord[] {
    return this.#chains.of(author);
  }

  /** What the author has used of its budget up to this held record. */
  totals(id: CID): ChainTotals | undefined {
    const entry = this.#entries.get(idKey(id));
    return entry?.held === true && entry.totals !== null ? entry.totals : undefined;
  }

  /** Whether a record, held or waiting, names the payload. */
  namesPayload(payload: CID): boolean {
    return this.#payloads.used(idKey(payload));
  }

  /**
   * Whether there is room for the bytes of a record's payload: always when its parents are all held, and otherwise as
   * long as what is stored for waiting records keeps to its bound.
   */
  hasPayloadRoom({ record }: SignedRecord, size: number): boolean {
    return this.#parentsHeld(record.parents) || this.#payloads.waitingBytes + size <= this.#payloadBytes;
  }

  /** Size of a payload, where its manifest was seen. */
  payloadSize(payload: CID): number | undefined {
    return this.#payloads.size(idKey(payload));
  }

  /** Every `seq` with two or more held records of one author. */
  equivocations(): Equivocation[] {
    return [...this.#chains.equivocations()];
  }

  /** True for a held record that its author's equivocation declines: same `seq` or a later one. */
  isEquivocated(id: CID): boolean {
    const signed = this.#held.get(idKey(id));
    return signed !== undefined && this.#chains.flagged(signed);
  }

  /**
   * True for a record, known or not, that no decision depends on any more: its author's equivocation at the same `seq`
   * or an earlier one is proven already, so it would only be declined. Worth neither relaying nor asking for, unless
   * another author's record names it as a parent.
   */
  isSuperfluous(signed: SignedRecord): boolean {
    return this.#chains.flagged(signed);
  }

  /** An author's records that are not held yet, in order of arrival. */
  waitingOf(author: Uint8Array): SignedRecord[] {
    return [...this.#pool.ofAuthor(authorKey(author))].map(({ signed }) => signed);
  }

  /**
   * The chain fields of the author's next record: its newest held record and the heads, at most `MAX_PARENTS` parents,
   * the heads that became held first. Heads that their author's equivocation declines are left out: named as parents,
   * they would have to be kept for ever.
   *
   * @throws LogError `AUTHOR_EQUIVOCATED`
   */
  nextLink(author: Uint8Array): { seq: number; prev: CID | null; parents: CID[] } {
    const tip = this.#chains.tip(author);
    if (tip === 'fork') {
      throw new LogError(
        'AUTHOR_EQUIVOCATED',
        'this author key has signed two records with one seq, so all its further updates are declined: contribute with a new key',
        { author: authorKey(author) },
      );
    }
    const parents = new Map<string, CID>();
    if (tip !== undefined) parents.set(idKey(tip.id), tip.id);
    for (const [key, head] of this.#heads) {
      if (parents.size >= MAX_PARENTS) break;
      if (!this.#chains.flagged(head)) parents.set(key, head.id);
    }
    return {
      seq: tip === undefined ? 0 : tip.record.seq + 1,
      prev: tip?.id ?? null,
      parents: [...parents.values()].sort((a, b) => compareBytes(a.bytes, b.bytes)),
    };
  }

  /**
   * The waiting records and what each waits for, in order of arrival.
   *
   * @param limit - look at the first ones only
   */
  pending(limit = Number.POSITIVE_INFINITY): PendingInfo[] {
    const first: Waiting[] = [];
    for (const waiting of this.#pool.values()) {
      if (first.length >= limit) break;
      first.push(waiting);
    }
    return first.map(({ signed, source, since }) => {
      const unheld = signed.record.parents.filter((parent) => !this.#held.has(idKey(parent)));
      const payload = idKey(signed.record.payload);
      return {
        signed,
        source,
        since,
        missingRecords: unheld.filter((parent) => !this.#entries.has(idKey(parent))),
        pendingParents: unheld.filter((parent) => this.#entries.has(idKey(parent))),
        missingManifest: this.#payloads.size(payload) === undefined,
        missingPayload: !this.#payloads.stored(payload),
      };
    });
  }

  /**
   * What is to be fetched, in order of arrival, except that payloads of records whose parents are all held come first.
   * The other payloads are named as long as there is room for them.
   */
  missing(): Missing {
    const records = new Map<string, CID>();
    const manifests = new Map<string, CID>();
    const payloads = new Map<string, CID>();
    const early: [string, CID][] = [];
    for (const { key, signed } of this.#pool.values()) {
      for (const parent of signed.record.parents) {
        const parentKey = idKey(parent);
        if (!this.#entries.has(parentKey)) records.set(parentKey, parent);
      }
      const payload = idKey(signed.record.payload);
      if (this.#payloads.size(payload) === undefined) manifests.set(payload, signed.record.payload);
      else if (!this.#payloads.stored(payload) && this.#entries.get(key)!.totals !== null) {
        if (this.#parentsHeld(signed.record.parents)) payloads.set(payload, signed.record.payload);
        else early.push([payload, signed.record.payload]);
      }
    }
    let room = this.#payloadBytes - this.#payloads.waitingBytes;
    for (const [payload, id] of early) {
      if (payloads.has(payload)) continue;
      room -= this.#payloads.size(payload)!;
      if (room < 0) break;
      payloads.set(payload, id);
    }
    return { records: [...records.values()], manifests: [...manifests.values()], payloads: [...payloads.values()] };
  }

  #learn(payload: CID, size: number, stored: boolean): LogChange {
    const change = newChange();
    this.#settle([...this.#payloads.learn(idKey(payload), size, stored)], change);
    return change;
  }

  /** Valid, its payload stored, its parents held. */
  #complete(entry: Entry): boolean {
    const { parents, payload } = entry.signed.record;
    return entry.totals !== null && this.#payloads.stored(idKey(payload)) && this.#parentsHeld(parents);
  }

  #parentsHeld(parents: readonly CID[]): boolean {
    return parents.every((parent) => this.#held.has(idKey(parent)));
  }

  /**
   * A budget is summed along one chain, so an author that forks its chain begins anew with every branch. What an
   * equivocator may fill is its budget once; no decision depends on the rest, unless another author built on it.
   */
  #isExcess(key: string, signed: SignedRecord): boolean {
    if (!this.#chains.flagged(signed)) return false;
    const { author, payload } = signed.record;
    const used = this.#chains.used(author);
    const waiting = this.#pool.ofAuthor(authorKey(author)).size;
    const { budgets } = this.#charter;
    const size = this.#payloads.size(idKey(payload)) ?? 0;
    if (used.updates + waiting < budgets.updates && used.bytes + size <= budgets.bytes) return false;
    for (const child of this.#children.get(key) ?? []) {
      if (authorKey(this.#entries.get(child)!.signed.record.author) !== authorKey(author)) return false;
    }
    return true;
  }

  #insert(entry: Entry): void {
    this.#entries.set(entry.key, entry);
    this.#payloads.use(idKey(entry.signed.record.payload), entry.key);
    for (const parent of entry.signed.record.parents) {
      const parentKey = idKey(parent);
      const children = this.#children.get(parentKey);
      if (children === undefined) this.#children.set(parentKey, new Set([entry.key]));
      else children.add(entry.key);
    }
  }

  /** Judges again what may have changed, and follows the consequences. A queue, not recursion: chains are long. */
  #settle(queue: string[], change: Change): void {
    for (let i = 0; i < queue.length; i++) {
      const entry = this.#entries.get(queue[i]!);
      if (entry === undefined || entry.held) continue;
      let news = false;
      if (entry.totals === null) {
        const validity = checkValidity(entry.signed.record, this.#context);
        if (validity.verdict === 'invalid') {
          this.#reject(entry.key, validity, change);
          continue;
        }
        if (validity.verdict === 'valid') {
          entry.totals = validity.totals;
          news = true;
        }
      }
      if (this.#complete(entry)) {
        this.#hold(entry, change);
        news = true;
      }
      if (news) for (const child of this.#children.get(entry.key) ?? []) queue.push(child);
    }
  }

  #hold(entry: Entry, change: Change): void {
    const { key, signed } = entry;
    entry.held = true;
    this.#pool.remove(key);
    this.#payloads.pin(idKey(signed.record.payload), key);
    this.#held.set(key, signed);
    for (const parent of signed.record.parents) this.#heads.delete(idKey(parent));
    this.#heads.set(key, signed);
    const equivocation = this.#chains.add(signed, this.#payloads.size(idKey(signed.record.payload)) ?? 0);
    change.held.push(signed);
    if (equivocation !== null) change.equivocations.push(equivocation);
  }

  /** Remembers an invalid record, and drops what waits for it: it can never be held. */
  #reject(first: string, verdict: Invalid, change: Change): void {
    const stack: [string, Invalid][] = [[first, verdict]];
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const [key, why] = next;
      this.#remember(key, why);
      this.#drop(key, { reason: 'invalid', code: why.code, message: why.message }, change);
      for (const child of this.#children.get(key) ?? []) stack.push([child, ANCESTOR_INVALID]);
    }
  }

  #remember(key: string, verdict: Invalid): void {
    this.#invalid.set(key, verdict);
    if (this.#invalid.size > MAX_REMEMBERED_INVALID) {
      const [oldest] = this.#invalid.keys();
      this.#invalid.delete(oldest!);
    }
  }

  #drop(key: string, why: Omit<Dropped, 'signed'>, change: Change): void {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.held) return;
    this.#entries.delete(key);
    this.#pool.remove(key);
    this.#payloads.release(idKey(entry.signed.record.payload), key);
    for (const parent of entry.signed.record.parents) {
      const parentKey = idKey(parent);
      const children = this.#children.get(parentKey);
      children?.delete(key);
      if (children?.size === 0) this.#children.delete(parentKey);
    }
    change.dropped.push({ signed: entry.signed, ...why });
  }

  #dropExpired(change: Change): void {
    for (const { key } of this.#pool.expired(this.#now())) this.#drop(key, { reason: 'expired' }, change);
  }
}

function newChange(): Change {
  return { held: [], dropped: [], equivocations: [] };
}

const ANCESTOR_INVALID: Invalid = {
  verdict: 'invalid',
  code: 'ANCESTOR_INVALID',
  message: 'a parent of the record is invalid',
  fields: {},
};
