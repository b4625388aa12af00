import type { CID } from 'multiformats/cid';
import { idKey } from './canonical.ts';
import { authorKey, type Equivocation } from './chains.ts';
import type { Charter } from './charter.ts';
import type { Entries, Entry } from './entries.ts';
import type { HeldSet } from './held.ts';
import { ANCESTOR_INVALID, type Invalid, type InvalidMemory } from './invalid.ts';
import type { LogState } from './log-state.ts';
import type { AddResult, Dropped, LogChange } from './log-types.ts';
import type { PayloadFacts } from './payloads.ts';
import type { PendingPool, Waiting } from './pending.ts';
import type { SignedRecord } from './record.ts';
import { checkValidity, type ValidityContext } from './validity.ts';

export interface IntakeOptions {
  readonly charter: Charter;
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

  constructor(state: LogState, options: IntakeOptions) {
    const { entries, invalid, payloads } = state;
    this.#now = options.now;
    this.#entries = entries;
    this.#held = state.held;
    this.#pool = state.pool;
    this.#invalid = invalid;
    this.#payloads = payloads;
    this.#context = {
      charter: options.charter,
      charterId: options.charterId,
      record: (id) => {
        const key = idKey(id);
        if (invalid.has(key)) return 'invalid';
        const entry = entries.get(key);
        return entry && { author: entry.signed.record.author, seq: entry.signed.record.seq, totals: entry.totals };
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
    if (this.#isExcess(key, signed)) return { outcome: 'refused', change };
    const entry: Entry = { key, signed, held: false, totals: validity.verdict === 'valid' ? validity.totals : null };
    if (!this.#complete(entry)) {
      const waiting: Waiting = { key, signed, author: authorKey(signed.record.author), source, since: this.#now() };
      const room = this.#pool.roomFor(waiting);
      if (room === null) return { outcome: 'refused', change };
      if (room !== 'none') this.#drop(room.key, { reason: 'evicted' }, change);
      this.#pool.add(waiting);
    }
    this.#entries.add(entry);
    this.#payloads.use(idKey(signed.record.payload), key);
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

  /** Valid, its payload stored, its parents held. */
  #complete(entry: Entry): boolean {
    const { parents, payload } = entry.signed.record;
    return entry.totals !== null && this.#payloads.stored(idKey(payload)) && this.#held.hasAll(parents);
  }

  /**
   * A budget is summed along one chain, so an author that forks its chain begins anew with every branch. What an
   * equivocator may fill is its budget once; no decision depends on the rest, unless another author built on it.
   */
  #isExcess(key: string, signed: SignedRecord): boolean {
    if (!this.#held.chains.flagged(signed)) return false;
    const { author, payload } = signed.record;
    const used = this.#held.chains.used(author);
    const waiting = this.#pool.ofAuthor(authorKey(author)).size;
    const { budgets } = this.#context.charter;
    const size = this.#payloads.size(idKey(payload)) ?? 0;
    if (used.updates + waiting < budgets.updates && used.bytes + size <= budgets.bytes) return false;
    for (const child of this.#entries.children(key)) {
      if (authorKey(this.#entries.get(child)!.signed.record.author) !== authorKey(author)) return false;
    }
    return true;
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
      if (news) for (const child of this.#entries.children(entry.key)) queue.push(child);
    }
  }

  #hold(entry: Entry, change: Change): void {
    const { key, signed } = entry;
    const payload = idKey(signed.record.payload);
    entry.held = true;
    this.#pool.remove(key);
    this.#payloads.pin(payload, key);
    const equivocation = this.#held.add(key, signed, this.#payloads.size(payload) ?? 0);
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
    this.#payloads.release(idKey(entry.signed.record.payload), key);
    change.dropped.push({ signed: entry.signed, ...why });
  }

  #dropExpired(change: Change): void {
    for (const { key } of this.#pool.expired(this.#now())) this.#drop(key, { reason: 'expired' }, change);
  }
}

function newChange(): Change {
  return { held: [], dropped: [], equivocations: [] };
}
