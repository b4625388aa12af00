import * as z from 'zod';
import { DIGEST_BYTES } from '../../src/log/index.ts';
import { MAX_ENTRY_BYTES, MAX_SIGNED_HEAD_BYTES } from '../limits.ts';
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
  MAX_NAMED_BYTES,
  MAX_NODES_BYTES,
  MAX_PAGE_ENTRIES,
  MAX_PREFIXES_BYTES,
  MAX_SOME_BYTES,
  MAX_WHOLE_BYTES,
  REQUEST_LIMITS,
  RESPONSE_LIMITS,
  SALT_BYTES,
} from './constants.ts';

const digestSchema = bytesSchema(DIGEST_BYTES, DIGEST_BYTES);
const headSchema = bytesSchema(MAX_SIGNED_HEAD_BYTES, 1).nullable();
const countSchema = intSchema(0, Number.MAX_SAFE_INTEGER);
/** Digests of ids, one after another. */
const digestsSchema = bytesSchema(MAX_NAMED_BYTES).refine((bytes) => bytes.length % DIGEST_BYTES === 0);

const requestSchema = z.discriminatedUnion('kind', [
  /** The first request of a stream, once: who I am and what I have. */
  z.strictObject({
    kind: z.literal('hello'),
    charter: cidSchema,
    /** Of the tree of the ids that the sender offers, and how many these are. */
    digest: digestSchema,
    size: countSchema,
    /** sha2-256 of the sender's signed head, or null. */
    head: digestSchema.nullable(),
    salt: bytesSchema(SALT_BYTES, SALT_BYTES),
  }),
  /** The head that the server asked for, or null; and whether the server's is wanted. */
  z.strictObject({ kind: z.literal('heads'), head: headSchema, want: z.boolean() }),
  /** What the server has under some prefixes (packed). */
  z.strictObject({ kind: z.literal('compare'), prefixes: bytesSchema(MAX_PREFIXES_BYTES, 1) }),
  /** Entries: everything under some prefixes, choices from leaves (packed), by digest; and whether that is all. */
  z.strictObject({
    kind: z.literal('want'),
    whole: bytesSchema(MAX_WHOLE_BYTES),
    some: bytesSchema(MAX_SOME_BYTES),
    ids: digestsSchema,
    last: z.boolean(),
  }),
  /** The next page. */
  z.strictObject({ kind: z.literal('next') }),
  /** How many entries the client has that the server lacks, and the first of them. */
  z.strictObject({ kind: z.literal('lacks'), count: countSchema, ids: digestsSchema }),
]);
export type SyncRequest = z.infer<typeof requestSchema>;

const answerSchema = z.discriminatedUnion('status', [
  z.strictObject({
    status: z.literal('hello'),
    digest: digestSchema,
    size: countSchema,
    head: digestSchema.nullable(),
    /** The client's head is not known here. */
    wantsHead: z.boolean(),
    /** The root (packed); empty when both digests are equal. */
    node: bytesSchema(MAX_NODES_BYTES),
  }),
  z.strictObject({ status: z.literal('heads'), head: headSchema }),
  /** One node (packed) for each prefix, in their order. */
  z.strictObject({ status: z.literal('nodes'), nodes: bytesSchema(MAX_NODES_BYTES) }),
  z.strictObject({
    status: z.literal('page'),
    entries: z.array(bytesSchema(MAX_ENTRY_BYTES, 1)).max(MAX_PAGE_ENTRIES),
    done: z.boolean(),
  }),
  z.strictObject({ status: z.literal('noted') }),
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
