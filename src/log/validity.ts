import type { CID } from 'multiformats/cid';
import { equalBytes } from './canonical.ts';
import { type Charter, isMember } from './charter.ts';
import type { UpdateRecord } from './record.ts';

/**
 * Why a record is provably invalid, for every node and for ever:
 *
 * - `OTHER_CHARTER`: it belongs to another community
 * - `NOT_A_MEMBER`: its author is not a member
 * - `CHAIN_BROKEN`: `prev` is another author's record, or not the one before by `seq`
 * - `PAYLOAD_EMPTY`: its payload has no bytes
 * - `PAYLOAD_TOO_LARGE`: its payload is larger than the charter allows
 * - `BUDGET_UPDATES`: more updates along its chain than the author's budget
 * - `BUDGET_BYTES`: more payload bytes along its chain than the author's budget
 * - `ANCESTOR_INVALID`: it names an invalid record as a parent, so it can never be held
 */
export type InvalidCode =
  | 'OTHER_CHARTER'
  | 'NOT_A_MEMBER'
  | 'CHAIN_BROKEN'
  | 'PAYLOAD_EMPTY'
  | 'PAYLOAD_TOO_LARGE'
  | 'BUDGET_UPDATES'
  | 'BUDGET_BYTES'
  | 'ANCESTOR_INVALID';

/** What an author has used up to and including one record of its chain. */
export interface ChainTotals {
  readonly updates: number;
  /** Sum of payload sizes. */
  readonly bytes: number;
}

/** What is known of another record. */
export interface KnownRecord {
  readonly author: Uint8Array;
  readonly seq: number;
  /** Null while a payload size along its chain is unknown. */
  readonly totals: ChainTotals | null;
}

/** What validity is judged against. */
export interface ValidityContext {
  readonly charter: Charter;
  /** The community id. */
  readonly charterId: CID;
  /** `undefined` when the record was never seen. */
  record(id: CID): KnownRecord | 'invalid' | undefined;
  /** Size of a payload by its verified manifest, in bytes; `undefined` when the manifest was never seen. */
  payloadSize(payload: CID): number | undefined;
}

export type Validity =
  | { readonly verdict: 'valid'; readonly totals: ChainTotals }
  | {
      readonly verdict: 'invalid';
      readonly code: InvalidCode;
      readonly message: string;
      readonly fields: Readonly<Record<string, unknown>>;
    }
  | {
      /** Cannot be judged yet. */
      readonly verdict: 'unknown';
      /** Records that decide: `prev`, never seen or itself not judged yet. */
      readonly records: readonly CID[];
      /** Payloads whose manifest decides. */
      readonly payloads: readonly CID[];
    };

/**
 * Judges a record before it is stored or relayed, apart from admission; its signature was checked when it was decoded.
 *
 * The verdict follows from the record, its author's chain and the charter alone, so all nodes agree on it. What is
 * invalid already without the missing pieces is called invalid at once.
 */
export function checkValidity(record: UpdateRecord, context: ValidityContext): Validity {
  const { charter } = context;
  if (!record.charter.equals(context.charterId)) {
    return invalid('OTHER_CHARTER', 'the record belongs to another community', { charter: record.charter.toString() });
  }
  if (!isMember(charter, record.author)) {
    return invalid('NOT_A_MEMBER', 'the author is not a member of this community', {});
  }
  for (const parent of record.parents) {
    if (context.record(parent) === 'invalid') {
      return invalid('ANCESTOR_INVALID', 'a parent of the record is invalid', { parent: parent.toString() });
    }
  }
  const size = context.payloadSize(record.payload);
  if (size === 0) return invalid('PAYLOAD_EMPTY', 'the payload has no bytes', {});
  if (size !== undefined && size > charter.admission.maxPayloadBytes) {
    return invalid('PAYLOAD_TOO_LARGE', 'the payload is larger than the charter allows', {
      size,
      max: charter.admission.maxPayloadBytes,
    });
  }
  const before = totalsBefore(record, context);
  if (before !== null && 'verdict' in before) return before;
  if (before === null || size === undefined) {
    // Even without the chain's totals this much is certain.
    if (size !== undefined && size > charter.budgets.bytes) return overBytes(size, charter);
    if (before !== null && before.updates + 1 > charter.budgets.updates)
      return overUpdates(before.updates + 1, charter);
    return {
      verdict: 'unknown',
      records: before === null ? [record.prev!] : [],
      payloads: size === undefined ? [record.payload] : [],
    };
  }
  const totals: ChainTotals = { updates: before.updates + 1, bytes: before.bytes + size };
  if (totals.updates > charter.budgets.updates) return overUpdates(totals.updates, charter);
  if (totals.bytes > charter.budgets.bytes) return overBytes(totals.bytes, charter);
  return { verdict: 'valid', totals };
}

/** Totals of the chain up to `prev`; null while unknown. */
function totalsBefore(record: UpdateRecord, context: ValidityContext): ChainTotals | Validity | null {
  if (record.prev === null) return { updates: 0, bytes: 0 };
  const prev = context.record(record.prev);
  if (prev === undefined || prev === 'invalid') return null;
  if (!equalBytes(prev.author, record.author)) {
    return invalid('CHAIN_BROKEN', 'prev is a record of another author', { prev: record.prev.toString() });
  }
  if (prev.seq + 1 !== record.seq) {
    return invalid('CHAIN_BROKEN', `seq ${record.seq} does not follow the ${prev.seq} of prev`, {
      seq: record.seq,
      prevSeq: prev.seq,
    });
  }
  return prev.totals;
}

function overUpdates(updates: number, charter: Charter): Validity {
  const budget = charter.budgets.updates;
  return invalid('BUDGET_UPDATES', `the author’s chain has ${updates} updates; its budget is ${budget}`, {
    updates,
    budget,
  });
}

function overBytes(bytes: number, charter: Charter): Validity {
  const budget = charter.budgets.bytes;
  return invalid('BUDGET_BYTES', `the payloads of the author’s chain have ${bytes} bytes; its budget is ${budget}`, {
    bytes,
    budget,
  });
}

function invalid(
  code: InvalidCode,
  message: string,
  fields: Record<string, unknown>,
): Validity & { verdict: 'invalid' } {
  return { verdict: 'invalid', code, message, fields };
}
