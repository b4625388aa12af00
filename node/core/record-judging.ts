import type { CID } from 'multiformats/cid';
import type { Log, SignedRecord, Validity } from '../../src/log/index.ts';
import { checkValidity, idText, payloadOf } from '../../src/log/index.ts';
import { NodeError } from '../errors.ts';
import type { RecordFiles } from './record-files.ts';

/** The chain fields of an author's next record. */
export type NextLink = ReturnType<Log['nextLink']>;

/** Judges a record by what the log holds, and by the size of its payload when the caller knows it. */
export function judgeRecord(
  signed: SignedRecord,
  payloadSize: number | undefined,
  { log, charterId }: { log: Log; charterId: CID },
): Validity {
  return checkValidity(signed.record, {
    charter: log.charter,
    charterId,
    charterPast: log.charterPast,
    record: (id) => (log.state(id) === 'held' ? log.known(id) : undefined),
    payloadSize: (payload) =>
      payloadSize !== undefined && payloadOf(signed.record)?.equals(payload) === true
        ? payloadSize
        : log.payloadSize(payload),
  });
}

/** @throws NodeError `UPDATE_INVALID` unless an own record with this verdict can be held at once */
export function requirePublishable(validity: Validity): void {
  if (validity.verdict === 'valid') return;
  const message = validity.verdict === 'invalid' ? validity.message : 'the own chain is not complete';
  throw new NodeError('UPDATE_INVALID', `this update cannot be published: ${message}`, {
    reason: validity.verdict === 'invalid' ? validity.code : 'unknown',
  });
}

/**
 * The chain fields of the author's next record, by the log and by what is on disk and not held.
 *
 * @throws NodeError `UPDATE_INVALID` (reason `CHAIN_INCOMPLETE`)
 * @throws LogError `AUTHOR_EQUIVOCATED`
 */
export function nextLink(author: Uint8Array, { log, files }: { log: Log; files: RecordFiles }): NextLink {
  const link = log.nextLink(author);
  const waiting = new Set([...log.waitingOf(author).map(({ id }) => idText(id)), ...files.stalledOf(author)]);
  const published = files.lastPublished(author);
  if (published !== undefined && log.state(published) !== 'held') waiting.add(idText(published));
  if (waiting.size === 0) return link;
  throw new NodeError(
    'UPDATE_INVALID',
    `${waiting.size} earlier updates of this author are known here and not whole (${[...waiting][0]}): run the daemon ` +
      'until sync has brought what is missing, then contribute again',
    { reason: 'CHAIN_INCOMPLETE', updates: [...waiting] },
  );
}
