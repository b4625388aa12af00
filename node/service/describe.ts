import type { CID } from 'multiformats/cid';
import { errorCode } from '../../src/errors.ts';
import { encodeSigned, keyToText, type PendingInfo, payloadOf, type SignedRecord } from '../../src/log/index.ts';
import type { Community } from '../core/community.ts';
import { revocationsIn } from '../core/governing.ts';
import { NodeError } from '../errors.ts';
import type { Tries } from '../net/fetch-attempts.ts';
import { Turns } from '../turns.ts';
import { describeContent } from './describe-record.ts';
import { MAX_LISTED_WAITING, type UpdateDocument, type WaitingDocument } from './documents.ts';

/** Shortest beginning of an id that is looked up; every id begins with the same seven characters. */
const MIN_PREFIX_CHARS = 8;

/** Held updates in canonical order, then pending ones. A long log is described in turns with the rest of the node. */
export async function describeUpdates(community: Community): Promise<UpdateDocument[]> {
  const { view, book } = community;
  const turns = new Turns();
  const placed = new Map((view?.records ?? []).map(({ id }, place) => [id.toString(), place]));
  const revocations = revocationsIn(book);
  const held: UpdateDocument[] = [];
  for (const signed of [...book.log.held()]) {
    held.push(describeHeld(community, signed, placed.get(signed.id.toString()), revocations));
    await turns.next();
  }
  held.sort((a, b) => (a.position ?? Number.POSITIVE_INFINITY) - (b.position ?? Number.POSITIVE_INFINITY));
  return [...held, ...book.log.pending().map((info) => describePending(community, info))];
}

/** @throws NodeError `UPDATE_UNKNOWN` */
export function findUpdate(community: Community, id: string): UpdateDocument {
  const { log } = community.book;
  const fits = ({ id: cid }: SignedRecord) => {
    const text = cid.toString();
    return text === id || (id.length >= MIN_PREFIX_CHARS && text.startsWith(id));
  };
  const held = [...log.held()].filter(fits);
  const pending = log.pending().filter(({ signed }) => fits(signed));
  const found = held.length + pending.length;
  if (found !== 1) {
    throw new NodeError(
      'UPDATE_UNKNOWN',
      found === 0
        ? `no update ${id} here: \`kinmerge log\` lists what is known`
        : `${found} updates begin with ${id}: give more of the id`,
      { id, found },
    );
  }
  if (pending.length > 0) return describePending(community, pending[0]!);
  const position = community.view?.records.findIndex(({ id: other }) => other.equals(held[0]!.id)) ?? -1;
  return describeHeld(community, held[0]!, position < 0 ? undefined : position, revocationsIn(community.book));
}

function describeHeld(
  community: Community,
  signed: SignedRecord,
  position: number | undefined,
  revocations: ReadonlyMap<string, SignedRecord>,
): UpdateDocument {
  const id = signed.id.toString();
  const decision = community.view?.decisions.get(id);
  const payload = payloadOf(signed.record);
  const verdict = payload === null ? undefined : community.judge.verdict(payload);
  const epoch = position === undefined ? null : epochAt(community, position);
  return {
    ...describeRecord(community, signed),
    state: 'held',
    waitsFor: [],
    position: position ?? null,
    verdict:
      payload === null ? 'none' : decision === undefined ? 'undecided' : decision.accepted ? 'accepted' : 'declined',
    gate: decision?.gate ?? null,
    takenOut: community.view?.takenOut.has(id) ?? false,
    revocation: revocations.get(id)?.id.toString() ?? null,
    epoch,
    provisional: epoch === null,
    density: verdict?.ok ? verdict.measure.nnz / verdict.measure.elements : null,
    norm: verdict?.ok ? verdict.measure.norm : null,
  };
}

/** Number of the seal whose epoch holds the record at this place of the order; null in the tail. */
function epochAt({ view }: Community, position: number): number | null {
  return view?.seals.find(({ records }) => position < records)?.number ?? null;
}

/**
 * The oldest waiting updates with their reasons.
 *
 * @param tries - how the fetching of a payload has gone, where a daemon fetches
 */
export function listWaiting(
  community: Community,
  tries: (payload: CID) => Tries | undefined = () => undefined,
): WaitingDocument[] {
  const oldest = community.book.log.pending(MAX_LISTED_WAITING);
  const triesOf = ({ record }: SignedRecord) => {
    const payload = payloadOf(record);
    return payload === null ? undefined : tries(payload);
  };
  return oldest.map((info) => {
    const { count, nextInMs, error } = triesOf(info.signed) ?? { count: 0, nextInMs: null, error: null };
    return {
      update: info.signed.id.toString(),
      waitsFor: reasons(info),
      tries: count,
      nextTry: nextInMs === null ? null : Math.round(Date.now() + nextInMs),
      lastError: error && { code: errorCode(error), message: error.message },
    };
  });
}

function reasons(info: PendingInfo): string[] {
  return [
    ...info.missingRecords.map((id) => `record ${id}`),
    ...info.pendingParents.map((id) => `pending record ${id}`),
    ...(info.missingManifest ? [`manifest of payload ${payloadOf(info.signed.record)}`] : []),
    ...(info.missingPayload && !info.missingManifest ? [`payload ${payloadOf(info.signed.record)}`] : []),
  ];
}

function describePending(community: Community, info: PendingInfo): UpdateDocument {
  return {
    ...describeRecord(community, info.signed),
    state: 'pending',
    waitsFor: reasons(info),
    position: null,
    verdict: 'undecided',
    gate: null,
    takenOut: false,
    revocation: null,
    epoch: null,
    provisional: true,
    density: null,
    norm: null,
  };
}

function describeRecord(community: Community, signed: SignedRecord) {
  const { kind, author, seq, parents } = signed.record;
  const payload = payloadOf(signed.record);
  return {
    id: signed.id.toString(),
    kind,
    author: keyToText(author),
    seq,
    parents: parents.map(String),
    ...describeContent(signed.record),
    payloadBytes: (payload && community.book.log.payloadSize(payload)) ?? null,
    recordBytes: encodeSigned(signed).length,
    deciding: community.deciding,
  };
}
