import type { CID } from 'multiformats/cid';
import * as z from 'zod';
import { ProtocolError } from '../errors.ts';
import { MAX_INLINE_PAYLOAD_BYTES, MAX_SIGNED_RECORD_BYTES } from '../limits.ts';
import { bytesSchema, decodeMessage, encodeMessage } from '../messages.ts';
import { UPDATE_LIMITS } from './constants.ts';

/** What travels on the updates topic. */
export interface UpdateMessage {
  /** Encoded signed record. */
  readonly record: Uint8Array;
  /** The payload, or null when it has to be fetched (see `MAX_INLINE_PAYLOAD_BYTES`). */
  readonly payload: Uint8Array | null;
}

const updateSchema = z.strictObject({
  record: bytesSchema(MAX_SIGNED_RECORD_BYTES, 1),
  payload: bytesSchema(MAX_INLINE_PAYLOAD_BYTES, 1).nullable(),
});

/** @throws ProtocolError `TOO_LARGE` for a record or payload above its limit */
export function encodeUpdate({ record, payload }: UpdateMessage): Uint8Array {
  checkSize('record', record, MAX_SIGNED_RECORD_BYTES);
  if (payload !== null) checkSize('inline payload', payload, MAX_INLINE_PAYLOAD_BYTES);
  return encodeMessage({ record, payload }, UPDATE_LIMITS);
}

/** @throws ProtocolError `TOO_LARGE`, `MALFORMED` */
export function decodeUpdate(bytes: Uint8Array): UpdateMessage {
  const { record, payload } = decodeMessage(bytes, UPDATE_LIMITS, updateSchema);
  // A copy: records are kept, and a view would keep the whole message they came in.
  return { record: new Uint8Array(record), payload };
}

function checkSize(what: string, bytes: Uint8Array, limit: number): void {
  if (bytes.length <= limit) return;
  const fields = { bytes: bytes.length, limit };
  throw new ProtocolError('TOO_LARGE', `An ${what} has at most ${limit} bytes, not ${bytes.length}.`, fields);
}

export function updatesTopic(community: CID): string {
  return `/kinmerge/1/${community}/updates`;
}

export function sealsTopic(community: CID): string {
  return `/kinmerge/1/${community}/seals`;
}

export function headsTopic(community: CID): string {
  return `/kinmerge/1/${community}/heads`;
}
