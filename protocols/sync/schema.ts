import type { CID } from 'multiformats/cid';
import * as z from 'zod';
import { compareBytes, sha256 } from '../../src/log/index.ts';
import { MAX_SIGNED_HEAD_BYTES, MAX_SIGNED_RECORD_BYTES, MAX_TIPS } from '../limits.ts';
import {
  bytesSchema,
  cidSchema,
  decodeMessage,
  encodeMessage,
  type Refusal,
  refusalError,
  refusalSchema,
} from '../messages.ts';
import { MAX_KNOWN, MAX_PAGE_RECORDS, MAX_WANTED, REQUEST_LIMITS, RESPONSE_LIMITS } from './constants.ts';

const DIGEST_BYTES = 32;
const digestSchema = bytesSchema(DIGEST_BYTES, DIGEST_BYTES);
const headSchema = bytesSchema(MAX_SIGNED_HEAD_BYTES, 1).nullable();
const recordSchema = bytesSchema(MAX_SIGNED_RECORD_BYTES, 1);

const requestSchema = z.discriminatedUnion('kind', [
  /** The first request of a stream: who I am and what I have. */
  z.strictObject({
    kind: z.literal('hello'),
    charter: cidSchema,
    /** `tipsDigest` of the sender's tips: equal digests end the exchange at once. */
    digest: digestSchema,
    known: z.array(cidSchema).max(MAX_KNOWN),
    /** The sender's signed head, or null. */
    head: headSchema,
  }),
  /** The next page. */
  z.strictObject({ kind: z.literal('next') }),
  /** Records by their ids. */
  z.strictObject({ kind: z.literal('records'), charter: cidSchema, ids: z.array(cidSchema).min(1).max(MAX_WANTED) }),
]);
export type SyncRequest = z.infer<typeof requestSchema>;

const answerSchema = z.discriminatedUnion('status', [
  z.strictObject({
    status: z.literal('hello'),
    digest: digestSchema,
    tips: z.array(cidSchema).max(MAX_TIPS),
    head: headSchema,
    records: z.array(recordSchema).max(MAX_PAGE_RECORDS),
    done: z.boolean(),
  }),
  z.strictObject({
    status: z.literal('page'),
    records: z.array(recordSchema).max(MAX_PAGE_RECORDS),
    done: z.boolean(),
  }),
  /** One place per asked id, in the same order; null where the server does not have it. */
  z.strictObject({ status: z.literal('records'), records: z.array(recordSchema.nullable()).max(MAX_WANTED) }),
  refusalSchema,
]);
export type SyncAnswer = Exclude<z.infer<typeof answerSchema>, Refusal>;

export function encodeRequest(request: SyncRequest): Uint8Array {
  return encodeMessage(request, REQUEST_LIMITS);
}

/** @throws ProtocolError `TOO_LARGE`, `MALFORMED` */
export function decodeRequest(bytes: Uint8Array): SyncRequest {
  return decodeMessage(bytes, REQUEST_LIMITS, requestSchema);
}

export function encodeAnswer(answer: SyncAnswer): Uint8Array {
  return encodeMessage(answer, RESPONSE_LIMITS);
}

/** @throws ProtocolError `TOO_LARGE`, `MALFORMED`, or what a refusal stands for */
export function decodeAnswer(bytes: Uint8Array, peer: string): SyncAnswer {
  const answer = decodeMessage(bytes, RESPONSE_LIMITS, answerSchema, peer);
  if (answer.status === 'refused') throw refusalError(answer, peer);
  return answer;
}

/** 32 bytes that two logs share exactly when they have the same tips, and so the same records. */
export function tipsDigest(tips: readonly CID[]): Uint8Array {
  const sorted = tips.map((tip) => tip.bytes).sort(compareBytes);
  return sha256(...sorted);
}
