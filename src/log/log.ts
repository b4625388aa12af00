import type { CID } from 'multiformats/cid';
import { authorKey } from './author-key.ts';
import { idKey } from './canonical.ts';
import type { Equivocation } from './chains.ts';
import type { Charter } from './charter.ts';
import { Entries } from './entries.ts';
import { HeldSet } from './held.ts';
import type { Ids } from './id-tree.ts';
import { Intake, knownOf } from './intake.ts';
import { InvalidMemory } from './invalid.ts';
import type { LogState } from './log-state.ts';
import type { AddResult, LogChange, LogOptions, Missing, PendingInfo } from './log-types.ts';
import { charterPast, latestPast, type Past } from './past.ts';
import { PayloadFacts } from './payloads.ts';
import { DEFAULT_PENDING_LIMITS, PendingPool } from './pending.ts';
import { missingParts, payloadRoom, payloadWanted, pendingInfos } from './pending-queries.ts';
import type { SignedRecord } from './record-types.ts';
import { SealSet } from './seal-set.ts';
import type { ChainTotals, KnownRecord } from './validity.ts';

/**
 * The index of one community's records, in memory: which are held, which wait and for what.
 *
 * It takes records whose signature was checked (`decodeSigned`) and word of payloads whose bytes were verified, in any
 * order, and does no input or output. What it says about held records follows from their set alone.
 */
export class Log {
  readonly #charter: Charter;
  readonly #state: LogState;
  readonly #intake: Intake;
  /** The past without amendments. */
  readonly charterPast: Past;

  constructor(options: LogOptions) {
    const { charter, charterId, now = () => performance.now() } = options;
    const limits = { ...DEFAULT_PENDING_LIMITS, ...options.limits };
    this.#charter = charter;
    this.charterPast = charterPast(charter);
    const entries = new Entries();
    const held = new HeldSet();
    this.#state = {
      entries,
      held,
      pool: new PendingPool(limits),
      invalid: new InvalidMemory(),
      payloads: new PayloadFacts(),
      seals: new SealSet(charter.sealers.keys, [held.ids, entries.ids]),
      payloadBytes: limits.payloadBytes,
    };
    this.#intake = new Intake(this.#state, { charter, charterPast: this.charterPast, charterId, now });
  }

  get charter(): Charter {
    return this.#charter;
  }

  /** The known seals. */
  get seals(): SealSet {
    return this.#state.seals;
  }

  /** Number of held records. */
  get size(): number {
    return this.#state.held.size;
  }

  /** Ids of the held records and of the known seals, as entries: for comparison with other logs. */
  get ids(): Ids {
    return this.#state.held.ids;
  }

  /** The same, and the waiting records. */
  get knownIds(): Ids {
    return this.#state.entries.ids;
  }

  /** Number of waiting records. */
  get pendingSize(): number {
    return this.#state.pool.size;
  }

  /**
   * Adds a record whose signature was checked.
   *
   * @param source - who brought it (a peer id); left out for the node's own
   */
  addRecord(signed: SignedRecord, source?: string): AddResult {
    return this.#intake.add(signed, source);
  }

  /** Notes the size of a payload by its verified manifest. */
  setManifest(payload: CID, size: number): LogChange {
    return this.#intake.learn(payload, size, false);
  }

  /** Notes that all bytes of a payload are stored and match its id. */
  setPayload(payload: CID, size: number): LogChange {
    return this.#intake.learn(payload, size, true);
  }

  /** Notes that the bytes of a payload are no longer stored. Payloads of held records are always there. */
  forgetPayload(payload: CID): void {
    this.#state.payloads.forget(idKey(payload));
  }

  /** Drops records that have waited too long. Adding a record does the same. */
  expire(): LogChange {
    return this.#intake.expire();
  }

  /** Where a record stands. `invalid` is remembered for the last `MAX_REMEMBERED_INVALID` only. */
  state(id: CID): 'held' | 'pending' | 'invalid' | 'unknown' {
    const key = idKey(id);
    const entry = this.#state.entries.get(key);
    if (entry !== undefined) return entry.held ? 'held' : 'pending';
    return this.#state.invalid.has(key) ? 'invalid' : 'unknown';
  }

  /** A held record. */
  get(id: CID): SignedRecord | undefined {
    return this.#state.held.get(id);
  }

  /** A held or waiting record. */
  find(id: CID): SignedRecord | undefined {
    return this.#state.entries.get(idKey(id))?.signed;
  }

  /** All held records, parents before children. */
  held(): IterableIterator<SignedRecord> {
    return this.#state.held.values();
  }

  /** Held records without held children, ascending by bytes. */
  heads(): CID[] {
    return this.#state.held.heads();
  }

  /** Held records that name this one as a parent, ascending by bytes. */
  children(id: CID): CID[] {
    return this.#state.held.among(this.#state.entries.children(idKey(id)));
  }

  /** Held records among the ids and their ancestors, each once, in no order that means anything. */
  ancestors(ids: Iterable<CID>): Generator<SignedRecord> {
    return this.#state.held.ancestors(ids);
  }

  /** Held records that are neither among the ids nor their ancestors, parents before children: what a peer lacks. */
  heldExcept(ids: Iterable<CID>): Generator<SignedRecord> {
    return this.#state.held.except(ids);
  }

  /** Authors of held records. */
  authors(): Uint8Array[] {
    return this.#state.held.chains.authors();
  }

  /** An author's held records in ascending `seq`. */
  chain(author: Uint8Array): SignedRecord[] {
    return this.#state.held.chains.of(author);
  }

  /** What the author has used of its budget up to this held record. */
  totals(id: CID): ChainTotals | undefined {
    const entry = this.#state.entries.get(idKey(id));
    return entry?.held === true && entry.totals !== null ? entry.totals : undefined;
  }

  /** The latest amendment among the held records; null while there is none. */
  amendmentTip(): Past['tip'] {
    const pasts = this.heads().map((id) => this.known(id)!.past!);
    return latestPast(pasts, this.charterPast).tip;
  }

  /** What a held or waiting record says to those that name it, for `checkValidity`. */
  known(id: CID): KnownRecord | undefined {
    const entry = this.#state.entries.get(idKey(id));
    return entry && knownOf(entry);
  }

  /** Whether a record, held or waiting, names the payload. */
  namesPayload(payload: CID): boolean {
    return this.#state.payloads.used(idKey(payload));
  }

  /**
   * Whether there is room for the bytes of a record's payload: always when its parents are all held, and otherwise as
   * long as what is stored for waiting records keeps to its bound.
   */
  hasPayloadRoom(signed: SignedRecord, size: number): boolean {
    return payloadRoom(this.#state, signed, size);
  }

  /**
   * Whether the bytes of a payload are to be fetched: its size is known, it is not stored, a waiting record that is
   * valid as far as its chain goes names it, and there is room for it.
   *
   * @param besides - bytes that others are about to take of that room
   */
  wantsPayload(payload: CID, besides = 0): boolean {
    return payloadWanted(this.#state, idKey(payload), besides);
  }

  /** Size of a payload, where its manifest was seen. */
  payloadSize(payload: CID): number | undefined {
    return this.#state.payloads.size(idKey(payload));
  }

  /** Every `seq` with two or more held records of one author. */
  equivocations(): Equivocation[] {
    return [...this.#state.held.chains.equivocations()];
  }

  /** True for a held record that its author's equivocation declines: same `seq` or a later one. */
  isEquivocated(id: CID): boolean {
    const signed = this.#state.held.get(id);
    return signed !== undefined && this.#state.held.chains.flagged(signed);
  }

  /**
   * True for a record, known or not, that no decision depends on any more: its author's equivocation at the same `seq`
   * or an earlier one is proven already, so it would only be declined. Worth neither relaying nor asking for, unless
   * another author's record names it as a parent.
   */
  isSuperfluous(signed: SignedRecord): boolean {
    return this.#state.held.chains.flagged(signed);
  }

  /** An author's records that are not held yet, in order of arrival. */
  waitingOf(author: Uint8Array): SignedRecord[] {
    return [...this.#state.pool.ofAuthor(authorKey(author))].map(({ signed }) => signed);
  }

  /**
   * The chain fields of the author's next record: its newest held record and the heads, at most `MAX_PARENTS` parents,
   * the heads that became held first. Heads that their author's equivocation declines are left out: named as parents,
   * they would have to be kept for ever.
   *
   * @throws LogError `AUTHOR_EQUIVOCATED`
   */
  nextLink(author: Uint8Array): { seq: number; prev: CID | null; parents: CID[] } {
    return this.#state.held.nextLink(author);
  }

  /**
   * The waiting records and what each waits for, in order of arrival.
   *
   * @param limit - look at the first ones only
   */
  pending(limit = Number.POSITIVE_INFINITY): PendingInfo[] {
    return pendingInfos(this.#state, limit);
  }

  /**
   * What is to be fetched, in order of arrival, except that payloads of records whose parents are all held come first.
   * The other payloads are named as long as there is room for them.
   */
  missing(): Missing {
    return missingParts(this.#state);
  }
}
