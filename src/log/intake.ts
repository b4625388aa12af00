import type { CID } from 'multiformats/cid';
import { authorKey } from './author-key.ts';
import { idKey } from './canonical.ts';
import type { Equivocation } from './chains.ts';
import type { Charter } from './charter.ts';
import type { Entries, Entry } from './entries.ts';
import type { HeldSet } from './held.ts';
import { ANCESTOR_INVALID, type Invalid, type InvalidMemory } from './invalid.ts';
import type { LogState } from './log-state.ts';
import type { AddResult, Dropped, LogChange } from './log-types.ts';
import { amendedPast, type Past } from './past.ts';
import type { PayloadFacts } from './payloads.ts';
import type { PendingPool, Waiting } from './pending.ts';
import { payloadOf, type SignedRecord } from './record-types.ts';
import type { SignedAmendment } from './rules.ts';
import type { SealSet } from './seal-set.ts';
import { checkValidity, type KnownRecord, pastOf, type ValidityContext } from './validity.ts';

export interface IntakeOptions {
  readonly charter: Charter;
  readonly charterPast: Past;
  /** The community id. */
  readonly charterId: CID;
  /** Milliseconds that never go back. */
  readonly now: () => number;
}

interface Change {
  held: SignedRecord[];
  dropped: Dropped[];
  equivocations: Equivocation[];
}

/**
 * All that changes a log: it takes in records and word of payloads, lets what is incomplete wait, settles what became
 * complete, and drops what is invalid, over time or out of room.
 */
export class Intake {
  readonly #now: () => number;
  readonly #context: ValidityContext;
  readonly #entries: Entries;
  readonly #held: HeldSet;
  readonly #pool: PendingPool;
  readonly #invalid: InvalidMemory;
  readonly #payloads: PayloadFacts;
  readonly #seals: SealSet;

  constructor(state: LogState, options: IntakeOptions) {
    const { entries, invalid, payloads } = state;
    this.#now = options.now;
    this.#entries = entries;
    this.#held = state.held;
    this.#pool = state.pool;
    this.#invalid = invalid;
    this.#payloads = payloads;
    this.#seals = state.seals;
    this.#context = {
      charter: options.charter,
      charterId: options.charterId,
      charterPast: options.charterPast,
      record: (id) => {
        const key = idKey(id);
        if (invalid.has(key)) return 'invalid';
        const entry = entries.get(key);
        return entry && knownOf(entry);
      },
      payloadSize: (payload) => payloads.size(idKey(payload)),
    };
  }

  /** Takes a record that `source` brought; undefined for the node's own. */
  add(signed: SignedRecord, source: string | undefined): AddResult {
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
    // What the node itself has stored was judged when it came: its own order of reading must not change what is held.
    if (source !== undefined && this.#isExcess(key, signed)) return { outcome: 'refused', change };
    const totals = validity.verdict === 'valid' ? validity.totals : null;
    const entry: Entry = { key, signed, held: false, totals, past: null };
    this.#learnPast(entry);
    if (!this.#complete(entry)) {
      const waiting: Waiting = { key, signed, author: authorKey(signed.record.author), source, since: this.#now() };
      const room = this.#pool.roomFor(waiting);
      if (room === null) return { outcome: 'refused', change };
      if (room !== 'none') this.#drop(room.key, { reason: 'evicted' }, change);
      this.#pool.add(waiting);
    }
    this.#entries.add(entry);
    const payload = payloadOf(signed.record);
    if (payload !== null) this.#payloads.use(idKey(payload), key);
    this.#settle([key, ...this.#entries.children(key)], change);
    if (entry.held) return { outcome: 'held', change };
    return { outcome: 'pending', change };
  }

  /** Takes note of a payload's size, and with `stored` that all its bytes are there. */
  learn(payload: CID, size: number, stored: boolean): LogChange {
    const change = newChange();
    this.#settle([...this.#payloads.learn(idKey(payload), size, stored)], change);
    return change;
  }

  /** Drops records that have waited too long. */
  expire(): LogChange {
    const change = newChange();
    this.#dropExpired(change);
    return change;
  }

  /** Valid, its payload (if it has one) stored, its parents held. */
  #complete({ signed, totals, past }: Entry): boolean {
    const payload = payloadOf(signed.record);
    const stored = payload === null || this.#payloads.stored(idKey(payload));
    return totals !== null && past !== null && stored && this.#held.hasAll(signed.record.parents);
  }

  /**
   * A budget is summed along one chain, so an author that forks its chain begins anew with every branch. What an
   * equivocator may fill is its budget once; no decision depends on the rest, unless another author or a seal built on it.
   */
  #isExcess(key: string, signed: SignedRecord): boolean {
    if (!this.#held.chains.flagged(signed)) return false;
    const { author } = signed.record;
    const payload = payloadOf(signed.record);
    const used = this.#held.chains.used(author);
    const waiting = this.#pool.ofAuthor(authorKey(author)).size;
    const { budgets } = this.#context.charter;
    const size = (payload === null ? 0 : this.#payloads.size(idKey(payload))) ?? 0;
    if (used.updates + waiting < budgets.updates && used.bytes + size <= budgets.bytes) return false;
    return !this.#isBuiltOn(key, authorKey(author));
  }

  /** Whether a record of another author descends from it, held or waiting, or a seal is waiting for it. */
  #isBuiltOn(key: string, author: string): boolean {
    const own = new Set([key]);
    for (const record of own) {
      if (this.#seals.hasInFrontier(record)) return true;
      for (const child of this.#entries.children(record)) {
        if (authorKey(this.#entries.get(child)!.signed.record.author) !== author) return true;
        own.add(child);
      }
    }
    return false;
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
      news = this.#learnPast(entry) || news;
      if (this.#complete(entry)) {
        this.#hold(entry, change);
        news = true;
      }
      if (news) for (const child of this.#entries.children(entry.key)) queue.push(child);
    }
  }

  /** Whether the entry's past became known. That of an amendment's children has it, so it must be valid first. */
  #learnPast(entry: Entry): boolean {
    const { signed, totals } = entry;
    if (entry.past !== null || (signed.record.kind === 'amendment' && totals === null)) return false;
    const past = pastOf(signed.record, this.#context);
    if (past === null) return false;
    entry.past = signed.record.kind === 'amendment' ? amendedPast(past, signed as SignedAmendment) : past;
    return true;
  }

  #hold(entry: Entry, change: Change): void {
    const { key, signed } = entry;
    const id = payloadOf(signed.record);
    const payload = id === null ? null : idKey(id);
    entry.held = true;
    this.#pool.remove(key);
    if (payload !== null) this.#payloads.pin(payload, key);
    const size = payload === null ? 0 : (this.#payloads.size(payload) ?? 0);
    const equivocation = this.#held.add(key, signed, size);
    const { record } = signed;
    if (record.kind === 'amendment' && record.sealers !== null) this.#seals.trust(record.sealers.keys);
    change.held.push(signed);
    if (equivocation !== null) change.equivocations.push(equivocation);
  }

  /** Remembers an invalid record, and drops what waits for it: it can never be held. */
  #reject(first: string, verdict: Invalid, change: Change): void {
    const stack: [string, Invalid][] = [[first, verdict]];
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const [key, why] = next;
      this.#invalid.remember(key, why);
      this.#drop(key, { reason: 'invalid', code: why.code, message: why.message }, change);
      for (const child of this.#entries.children(key)) stack.push([child, ANCESTOR_INVALID]);
    }
  }

  #drop(key: string, why: Omit<Dropped, 'signed'>, change: Change): void {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.held) return;
    this.#entries.remove(entry);
    this.#pool.remove(key);
    const payload = payloadOf(entry.signed.record);
    if (payload !== null) this.#payloads.release(idKey(payload), key);
    change.dropped.push({ signed: entry.signed, ...why });
  }

  #dropExpired(change: Change): void {
    for (const { key } of this.#pool.expired(this.#now())) this.#drop(key, { reason: 'expired' }, change);
  }
}

function newChange(): Change {
  return { held: [], dropped: [], equivocations: [] };
}

/** What a record says to those that name it. */
export function knownOf({ signed, totals, past }: Entry): KnownRecord {
  const { kind, author, seq } = signed.record;
  return { kind, author, seq, totals, past };
}
