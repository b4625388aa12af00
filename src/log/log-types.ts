import type { CID } from 'multiformats/cid';
import type { Equivocation } from './chains.ts';
import type { Charter } from './charter.ts';
import type { PendingLimits } from './pending.ts';
import type { SignedRecord } from './record-types.ts';
import type { InvalidCode } from './validity.ts';

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
