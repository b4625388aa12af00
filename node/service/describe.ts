import { encodeSigned, keyToText, type PendingInfo, type SignedRecord } from '../../src/log/index.ts';
import type { Community } from '../core/community.ts';
import { NodeError } from '../errors.ts';
import { MAX_LISTED_WAITING, type StatusDocument, type UpdateDocument } from './documents.ts';

/** Shortest beginning of an id that is looked up; every id begins with the same seven characters. */
const MIN_PREFIX_CHARS = 8;

/** Held updates in canonical order, then pending ones. */
export function describeUpdates(community: Community): UpdateDocument[] {
  const { view, book } = community;
  const placed = new Map((view?.updates ?? []).map(({ id }, place) => [id, place]));
  const held = [...book.log.held()].map((signed) => describeHeld(community, signed, placed.get(signed.id.toString())));
  held.sort((a, b) => (a.position ?? Number.POSITIVE_INFINITY) - (b.position ?? Number.POSITIVE_INFINITY));
  return [...held, ...book.log.pending().map((info) => describePending(community, info))];
}

/** @throws NodeError `UPDATE_UNKNOWN` */
export function findUpdate(community: Community, id: string): UpdateDocument {
  const found = describeUpdates(community).filter(
    (update) => update.id === id || (id.length >= MIN_PREFIX_CHARS && update.id.startsWith(id)),
  );
  if (found.length === 1) return found[0]!;
  throw new NodeError(
    'UPDATE_UNKNOWN',
    found.length === 0
      ? `no update ${id} here: \`kinmerge log\` lists what is known`
      : `${found.length} updates begin with ${id}: give more of the id`,
    { id, found: found.length },
  );
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

/** The oldest waiting updates with their reasons. */
export function listWaiting(community: Community): StatusDocument['waiting'] {
  const oldest = community.book.log.pending().slice(0, MAX_LISTED_WAITING);
  return oldest.map((info) => ({ update: info.signed.id.toString(), waitsFor: reasons(info) }));
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
  };
}
