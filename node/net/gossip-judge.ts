import type { PeerId } from '@libp2p/interface';
import type { UpdateMessage, Verdict } from '../../protocols/index.ts';
import type { SignedRecord } from '../../src/log/index.ts';
import { decodeSigned, decodeSignedSeal, LogError, manifestOf, payloadOf } from '../../src/log/index.ts';
import type { NetworkBook } from './network-book.ts';

/** A record of a kind or version that a newer program may know: passed over, never held against the peer. */
const NEWER: ReadonlySet<string> = new Set(['VERSION_UNKNOWN', 'RECORD_KIND_UNKNOWN']);

/**
 * Judges an update message: reject what is provably invalid, ignore what this node cannot judge, accept for relay what
 * is valid, whatever the own admission will say of it. Further records of a proven equivocator are ignored.
 *
 * @param onUnknown - gets what cannot be judged yet because the author's chain is not here
 */
export async function judgeUpdate(
  book: NetworkBook,
  message: UpdateMessage,
  from: PeerId,
  onUnknown: (signed: SignedRecord, from: PeerId) => void,
): Promise<Verdict> {
  let signed: SignedRecord;
  try {
    signed = decodeSigned(message.record);
  } catch (error) {
    if (error instanceof LogError) return NEWER.has(error.code) ? 'ignore' : 'reject';
    throw error;
  }
  // Two records with one seq are the proof; a third changes no decision, so nobody's disk and no link is for it. One that
  // another author built on comes by sync.
  if (book.log.isSuperfluous(signed)) return 'ignore';
  if (message.payload !== null) {
    const { id } = await manifestOf(message.payload);
    if (payloadOf(signed.record)?.equals(id) !== true) return 'reject';
  }
  const validity = book.judge(signed, message.payload?.length);
  if (validity.verdict === 'valid') return 'accept';
  if (validity.verdict === 'invalid') return 'reject';
  // A payload that was only announced has an unknown size; the chain alone says whether the record may travel on.
  if (validity.records.length === 0) return 'accept';
  onUnknown(signed, from);
  return 'ignore';
}

/**
 * Judges a seal for relay: reject what is provably wrong, accept what a key signed that is or was a sealer's, whatever this
 * node will make of it: two seals with one number are for everybody to see.
 *
 * @param onUnknown - told of a seal by a key that may be a sealer's by amendments that are not here
 */
export async function judgeSeal(book: NetworkBook, bytes: Uint8Array, onUnknown: () => void): Promise<Verdict> {
  try {
    const signed = decodeSignedSeal(bytes);
    if (!signed.seal.charter.equals(book.charterId)) return 'reject';
    const outcome = book.log.seals.judge(signed);
    if (outcome === 'untrusted') onUnknown();
    return outcome === 'added' ? 'accept' : 'ignore';
  } catch (error) {
    if (error instanceof LogError) return NEWER.has(error.code) ? 'ignore' : 'reject';
    throw error;
  }
}
