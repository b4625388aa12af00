import * as z from 'zod';
import {
  bytesSchema,
  cidSchema,
  decodeMessage,
  encodeMessage,
  type Refusal,
  refusalError,
  refusalSchema,
} from '../messages.ts';
import { MAX_ADDRESS_BYTES, MAX_ADDRESSES, MAX_PEERS, REQUEST_LIMITS, RESPONSE_LIMITS } from './constants.ts';

const requestSchema = z.strictObject({ charter: cidSchema });
export type PeersRequest = z.infer<typeof requestSchema>;

const addressesSchema = z.array(bytesSchema(MAX_ADDRESS_BYTES, 1)).min(1).max(MAX_ADDRESSES);

const answerSchema = z.discriminatedUnion('status', [
  /** Per peer its addresses in binary form, each ending in the peer's id. */
  z.strictObject({ status: z.literal('peers'), peers: z.array(addressesSchema).max(MAX_PEERS) }),
  refusalSchema,
]);
export type PeersAnswer = Exclude<z.infer<typeof answerSchema>, Refusal>;

export function encodeRequest(request: PeersRequest): Uint8Array {
  return encodeMessage(request, REQUEST_LIMITS);
}

/** @throws ProtocolError `TOO_LARGE`, `MALFORMED` */
export function decodeRequest(bytes: Uint8Array): PeersRequest {
  return decodeMessage(bytes, REQUEST_LIMITS, requestSchema);
}

export function encodeAnswer(answer: PeersAnswer): Uint8Array {
  return encodeMessage(answer, RESPONSE_LIMITS);
}

/** @throws ProtocolError `TOO_LARGE`, `MALFORMED`, or what a refusal stands for */
export function decodeAnswer(bytes: Uint8Array, peer: string): PeersAnswer {
  const answer = decodeMessage(bytes, RESPONSE_LIMITS, answerSchema, peer);
  if (answer.status === 'refused') throw refusalError(answer, peer);
  return answer;
}
