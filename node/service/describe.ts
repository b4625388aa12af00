import type { CID } from 'multiformats/cid';
import { errorCode } from '../../src/errors.ts';
import { encodeSigned, keyToText, type PendingInfo, type SignedRecord } from '../../src/log/index.ts';
import type { Community } from '../core/community.ts';
import { NodeError } from '../errors.ts';
import type { Tries } from '../net/fetcher.ts';
import { Turns } from '../turns.ts';
import { MAX_LISTED_WAITING, type UpdateDocument, type WaitingDocument } from './documents.ts';

/** Shortest beginning of an id that is looked up; every id begins with the same seven characters. */
const MIN_PREFIX_CHARS = 8;

/** Held updates in canonical order, then pending ones. A long log is described in turns with the rest of the node. */
export async function describeUpdates(community: Community): Promise<UpdateDocument[]> {
  const { view, book } = community;
  const turns = new Turns();
  const placed = new Map((view?.updates ?? []).map(({ id }, place) => [id, place]));
  const held: UpdateDocument[] = [];
  for (const signed of [...book.log.held()]) {
    held.push(describeHeld(community, signed, placed.get(signed.id.toString())));
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
  const position = community.view?.updates.findIndex(({ cid }) => cid.equals(held[0]!.id)) ?? -1;
  return describeHeld(community, held[0]!, position < 0 ? undefined : position);
}

function describeHeld(community: Community, signed: SignedRecord, position: number | undefined): UpdateDocument {
  const id = signed.id.toString();
  const decision = community.view?.decisions.get(id);
  const verdict = community.judge.verdict(signed.record.payload);
  return {
    ...describeRecord(community, signed),
    state: 'held',
    waitsFor: [],
    position: position ?? null,
    verdict: decision === undefined ? 'undecided' : decision.accepted ? 'accepted' : 'declined',
    gate: decision?.gate ?? null,
    density: verdict?.ok ? verdict.measure.nnz / verdict.measure.elements : null,
    norm: verdict?.ok ? verdict.measure.norm : null,
  };
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
  return oldest.map((info) => {
    const { count, nextInMs, error } = tries(info.signed.record.payload) ?? { count: 0, nextInMs: null, error: null };
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
    ...(info.missingManifest ? [`manifest of payload ${info.signed.record.payload}`] : []),
    ...(info.missingPayload && !info.missingManifest ? [`payload ${info.signed.record.payload}`] : []),
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
    density: null,
    norm: null,
  };
}

function describeRecord(community: Community, signed: SignedRecord) {
  const { author, seq, parents, payload, title, license, note } = signed.record;
  return {
    id: signed.id.toString(),
    author: keyToText(author),
    seq,
    parents: parents.map(String),
    payload: payload.toString(),
    payloadBytes: community.book.log.payloadSize(payload) ?? null,
    recordBytes: encodeSigned(signed).length,
    title,
    license,
    note,
    provisional: true,
    deciding: community.deciding,
  };
}
