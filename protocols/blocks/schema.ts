import * as z from 'zod';
import { MAX_BLOCKS } from '../../src/log/index.ts';
import { BLOCK_BYTES, MAX_OBJECT_BYTES } from '../limits.ts';
import {
  bytesSchema,
  cidSchema,
  decodeMessage,
  encodeMessage,
  intSchema,
  type Refusal,
  refusalError,
  refusalSchema,
} from '../messages.ts';
import {
  MAX_BUNDLED_CONTENT_BYTES,
  MAX_BUNDLED_MANIFEST_BYTES,
  MAX_PAYLOADS_PER_REQUEST,
  OBJECT_PART_BYTES,
  REQUEST_LIMITS,
  RESPONSE_LIMITS,
} from './constants.ts';

const objectRequest = z.strictObject({
  kind: z.literal('object'),
  id: cidSchema,
  /** Bytes; a multiple of the part size. */
  offset: intSchema(0, MAX_OBJECT_BYTES - 1),
});

const blockRequest = z.strictObject({
  kind: z.literal('block'),
  manifest: cidSchema,
  index: intSchema(0, MAX_BLOCKS - 1),
});

const payloadsRequest = z.strictObject({
  kind: z.literal('payloads'),
  ids: z.array(cidSchema).min(1).max(MAX_PAYLOADS_PER_REQUEST),
});

const requestSchema = z.discriminatedUnion('kind', [objectRequest, blockRequest, payloadsRequest]);
export type BlocksRequest = z.infer<typeof requestSchema>;

const objectAnswer = z.strictObject({
  status: z.literal('object'),
  /** Bytes of the whole object. */
  size: intSchema(1, MAX_OBJECT_BYTES),
  bytes: bytesSchema(OBJECT_PART_BYTES, 1),
});

const blockAnswer = z.strictObject({ status: z.literal('block'), bytes: bytesSchema(BLOCK_BYTES, 1) });

/** Null for a manifest that is not here; content is all of a small payload, null for one whose blocks are asked for. */
const payload = z.tuple([
  z.union([z.null(), bytesSchema(MAX_BUNDLED_MANIFEST_BYTES, 1)]),
  z.union([z.null(), bytesSchema(MAX_BUNDLED_CONTENT_BYTES, 1)]),
]);

const payloadsAnswer = z.strictObject({
  status: z.literal('payloads'),
  /** Of the first ids that were asked for. */
  payloads: z.array(payload).min(1).max(MAX_PAYLOADS_PER_REQUEST),
});

const notFound = z.strictObject({ status: z.literal('not-found') });

const answerSchema = z.discriminatedUnion('status', [
  objectAnswer,
  blockAnswer,
  payloadsAnswer,
  notFound,
  refusalSchema,
]);
export type BlocksAnswer = Exclude<z.infer<typeof answerSchema>, Refusal>;

export function encodeRequest(request: BlocksRequest): Uint8Array {
  return encodeMessage(request, REQUEST_LIMITS);
}

/** @throws ProtocolError `TOO_LARGE`, `MALFORMED` */
export function decodeRequest(bytes: Uint8Array): BlocksRequest {
  return decodeMessage(bytes, REQUEST_LIMITS, requestSchema);
}

export function encodeAnswer(answer: BlocksAnswer): Uint8Array {
  return encodeMessage(answer, RESPONSE_LIMITS);
}

/** @throws ProtocolError `TOO_LARGE`, `MALFORMED`, or what a refusal stands for */
export function decodeAnswer(bytes: Uint8Array, peer: string): BlocksAnswer {
  const answer = decodeMessage(bytes, RESPONSE_LIMITS, answerSchema, peer);
  if (answer.status === 'refused') throw refusalError(answer, peer);
  return answer;
}
