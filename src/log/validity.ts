import type { CID } from 'multiformats/cid';
import { equalBytes } from './canonical.ts';
import type { Charter } from './charter.ts';
import { latestPast, type Past } from './past.ts';
import type { AmendmentRecord, LogRecord, RevocationRecord, UpdateRecord } from './record-types.ts';

/**
 * Why a record is provably invalid, for every node and for ever:
 *
 * - `OTHER_CHARTER`: it belongs to another community
 * - `NOT_A_MEMBER`: its author never was a member
 * - `NOT_ALLOWED`: an amendment of somebody who is not the owner; a revocation of another author's update
 * - `CHAIN_BROKEN`: `prev` is another author's record, or not the one before by `seq`
 * - `AMENDMENT_BROKEN`: `number` and `previous` do not continue the amendments that it has seen
 * - `TARGET_INVALID`: what it revokes is no update
 * - `PAYLOAD_EMPTY`: its payload has no bytes
 * - `PAYLOAD_TOO_LARGE`: its payload is larger than the rules allow
 * - `BUDGET_UPDATES`: more updates along its chain than the author's budget
 * - `BUDGET_REVOCATIONS`: more revocations along its chain than the author may have updates
 * - `BUDGET_BYTES`: more payload bytes along its chain than the author's budget
 * - `ANCESTOR_INVALID`: it names an invalid record as a parent, so it can never be held
 */
export type InvalidCode =
  | 'OTHER_CHARTER'
  | 'NOT_A_MEMBER'
  | 'NOT_ALLOWED'
  | 'CHAIN_BROKEN'
  | 'AMENDMENT_BROKEN'
  | 'TARGET_INVALID'
  | 'PAYLOAD_EMPTY'
  | 'PAYLOAD_TOO_LARGE'
  | 'BUDGET_UPDATES'
  | 'BUDGET_REVOCATIONS'
  | 'BUDGET_BYTES'
  | 'ANCESTOR_INVALID';

/** What an author has used up to and including one record of its chain. */
export interface ChainTotals {
  readonly updates: number;
  /** Sum of payload sizes. */
  readonly bytes: number;
  readonly revocations: number;
}

/** What is known of another record. */
export interface KnownRecord {
  readonly kind: LogRecord['kind'];
  readonly author: Uint8Array;
  readonly seq: number;
  /** Null while a payload size along its chain is unknown. */
  readonly totals: ChainTotals | null;
  /** The past of what names it as a parent; null while an ancestor is unknown. */
  readonly past: Past | null;
}

/** What validity is judged against. */
export interface ValidityContext {
  readonly charter: Charter;
  /** The past without amendments. */
  readonly charterPast: Past;
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
      /** Records that decide: never seen or themselves not judged yet. */
      readonly records: readonly CID[];
      /** Payloads whose manifest decides. */
      readonly payloads: readonly CID[];
    };

type Invalid = Validity & { verdict: 'invalid' };

const NOTHING: ChainTotals = { updates: 0, bytes: 0, revocations: 0 };

/**
 * Judges a record before it is stored or relayed, apart from admission; its signature was checked when it was decoded.
 *
 * The verdict follows from the record and its ancestors alone, so all nodes agree on it. What is invalid already without
 * the missing pieces is called invalid at once, and what the charter alone allows needs none of them.
 */
export function checkValidity(record: LogRecord, context: ValidityContext): Validity {
  if (!record.charter.equals(context.charterId)) {
    return invalid('OTHER_CHARTER', 'the record belongs to another community', { charter: record.charter.toString() });
  }
  for (const parent of record.parents) {
    if (context.record(parent) === 'invalid') {
      return invalid('ANCESTOR_INVALID', 'a parent of the record is invalid', { parent: parent.toString() });
    }
  }
  switch (record.kind) {
    case 'update':
      return checkUpdate(record, context);
    case 'revocation':
      return checkRevocation(record, context);
    case 'amendment':
      return checkAmendment(record, context);
  }
}

/** The past of a record, by its parents; null while one of them or its past is unknown. */
export function pastOf(record: LogRecord, context: Pick<ValidityContext, 'record' | 'charterPast'>): Past | null {
  const pasts: Past[] = [];
  for (const parent of record.parents) {
    const known = context.record(parent);
    if (known === undefined || known === 'invalid' || known.past === null) return null;
    pasts.push(known.past);
  }
  return latestPast(pasts, context.charterPast);
}

function checkUpdate(record: UpdateRecord, context: ValidityContext): Validity {
  const past = pastOf(record, context);
  const size = context.payloadSize(record.payload);
  // Where an ancestor is unknown it may have allowed what the charter does not.
  const rules = past ?? context.charterPast;
  const doubts: Invalid[] = [];
  if (!rules.wasMember(record.author)) {
    doubts.push(invalid('NOT_A_MEMBER', 'the author is not a member of this community', {}));
  }
  if (size === 0) return invalid('PAYLOAD_EMPTY', 'the payload has no bytes', {});
  if (size !== undefined && size > rules.maxPayloadBytes) {
    doubts.push(
      invalid('PAYLOAD_TOO_LARGE', 'the payload is larger than the rules allow', { size, max: rules.maxPayloadBytes }),
    );
  }
  const before = totalsBefore(record, context);
  if (before !== null && 'verdict' in before) return before;
  const updates = before === null ? undefined : before.updates + 1;
  // Without the chain's totals the payload alone may already be too much.
  const bytes = size === undefined ? undefined : (before?.bytes ?? 0) + size;
  if (updates !== undefined && updates > rules.budgets.updates) doubts.push(overUpdates(updates, rules));
  if (bytes !== undefined && bytes > rules.budgets.bytes) doubts.push(overBytes(bytes, rules));
  if (doubts.length > 0) return past === null ? unknown(unjudged(record, context)) : doubts[0]!;
  if (before === null) return unknown([record.prev!], size === undefined ? [record.payload] : []);
  if (size === undefined) return unknown([], [record.payload]);
  return {
    verdict: 'valid',
    totals: { updates: before.updates + 1, bytes: before.bytes + size, revocations: before.revocations },
  };
}

function checkRevocation(record: RevocationRecord, context: ValidityContext): Validity {
  const target = context.record(record.target);
  if (target === undefined || target === 'invalid') return unknown([record.target]);
  if (target.kind !== 'update')
    return invalid('TARGET_INVALID', 'only an update can be revoked', { kind: target.kind });
  const isOwner = equalBytes(record.author, context.charter.owner);
  if (!isOwner && !equalBytes(record.author, target.author)) {
    return invalid('NOT_ALLOWED', 'an update is revoked by its author or by the owner of the community', {});
  }
  const before = totalsBefore(record, context);
  if (before === null) return unknown([record.prev!]);
  if ('verdict' in before) return before;
  const revocations = before.revocations + 1;
  const past = pastOf(record, context);
  const budget = (past ?? context.charterPast).budgets.updates;
  if (!isOwner && revocations > budget) {
    if (past === null) return unknown(unjudged(record, context));
    return invalid('BUDGET_REVOCATIONS', `the author’s chain has ${revocations} revocations; it may have ${budget}`, {
      revocations,
      budget,
    });
  }
  return { verdict: 'valid', totals: { ...before, revocations } };
}

function checkAmendment(record: AmendmentRecord, context: ValidityContext): Validity {
  if (!equalBytes(record.author, context.charter.owner)) {
    return invalid('NOT_ALLOWED', 'the rules are amended by the owner of the community', {});
  }
  const past = pastOf(record, context);
  if (past === null) return unknown(unjudged(record, context));
  const { tip } = past;
  const continues = record.previous === null ? tip === null : tip !== null && record.previous.equals(tip.id);
  if (!continues || record.number !== (tip?.number ?? 0) + 1) {
    return invalid('AMENDMENT_BROKEN', `amendment ${record.number} does not follow amendment ${tip?.number ?? 0}`, {
      number: record.number,
      before: tip?.number ?? 0,
    });
  }
  const before = totalsBefore(record, context);
  if (before === null) return unknown([record.prev!]);
  return 'verdict' in before ? before : { verdict: 'valid', totals: before };
}

/** Parents whose past is not known yet. */
function unjudged(record: LogRecord, context: ValidityContext): CID[] {
  return record.parents.filter((parent) => {
    const known = context.record(parent);
    return known === undefined || known === 'invalid' || known.past === null;
  });
}

/** Totals of the chain up to `prev`; null while unknown. */
function totalsBefore(record: LogRecord, context: ValidityContext): ChainTotals | Invalid | null {
  if (record.prev === null) return NOTHING;
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

function unknown(records: readonly CID[], payloads: readonly CID[] = []): Validity {
  return { verdict: 'unknown', records, payloads };
}

function overUpdates(updates: number, { budgets }: Past): Invalid {
  const budget = budgets.updates;
  return invalid('BUDGET_UPDATES', `the author’s chain has ${updates} updates; its budget is ${budget}`, {
    updates,
    budget,
  });
}

function overBytes(bytes: number, { budgets }: Past): Invalid {
  const budget = budgets.bytes;
  return invalid('BUDGET_BYTES', `the payloads of the author’s chain have ${bytes} bytes; its budget is ${budget}`, {
    bytes,
    budget,
  });
}

function invalid(code: InvalidCode, message: string, fields: Record<string, unknown>): Invalid {
  return { verdict: 'invalid', code, message, fields };
}
