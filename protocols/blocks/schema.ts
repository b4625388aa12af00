import * as z from 'zod';
import { MAX_BLOCKS } from '../../src/log/index.ts';
import { ProtocolError } from '../errors.ts';
import { BLOCK_BYTES, MAX_OBJECT_BYTES } from '../limits.ts';
import { cidSchema, decodeMessage, encodeMessage, intSchema, refusalError, refusalSchema } from '../messages.ts';
import {
  HEAD_LIMITS,
  MAX_ANSWER_BYTES,
  MAX_BUNDLED_CONTENT_BYTES,
  MAX_BUNDLED_MANIFEST_BYTES,
  MAX_PAYLOADS_PER_REQUEST,
  OBJECT_PART_BYTES,
  REQUEST_LIMITS,
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

const objectHead = z.strictObject({
  status: z.literal('object'),
  /** Bytes of the whole object. */
  size: intSchema(1, MAX_OBJECT_BYTES),
});

const blockHead = z.strictObject({ status: z.literal('block') });

const sizeSchema = (most: number) => z.union([z.null(), intSchema(1, most)]);

const payloadsHead = z.strictObject({
  status: z.literal('payloads'),
  /** Bytes of manifest and content of the first payloads that were asked for. */
  payloads: z
    .array(z.tuple([sizeSchema(MAX_BUNDLED_MANIFEST_BYTES), sizeSchema(MAX_BUNDLED_CONTENT_BYTES)]))
    .min(1)
    .max(MAX_PAYLOADS_PER_REQUEST),
});

const notFound = z.strictObject({ status: z.literal('not-found') });

const headSchema = z.discriminatedUnion('status', [objectHead, blockHead, payloadsHead]);
const plainSchema = z.discriminatedUnion('status', [notFound, refusalSchema]);

/**
 * Null for a manifest that is not here; content is all of a small payload, null for one whose blocks are asked for.
 */
export type SentPayload = readonly [manifest: Uint8Array | null, content: Uint8Array | null];

export type BlocksAnswer =
  | { readonly status: 'object'; readonly size: number; readonly bytes: Uint8Array }
  | { readonly status: 'block'; readonly bytes: Uint8Array }
  | { readonly status: 'payloads'; readonly payloads: readonly SentPayload[] }
  | { readonly status: 'not-found' };

export function encodeRequest(request: BlocksRequest): Uint8Array {
  return encodeMessage(request, REQUEST_LIMITS);
}

/** @throws ProtocolError `TOO_LARGE`, `MALFORMED` */
export function decodeRequest(bytes: Uint8Array): BlocksRequest {
  return decodeMessage(bytes, REQUEST_LIMITS, requestSchema);
}

/** @throws ProtocolError `TOO_LARGE` */
export function encodeAnswer(answer: BlocksAnswer): Uint8Array {
  switch (answer.status) {
    case 'object':
      return withContent({ status: 'object', size: answer.size }, [answer.bytes]);
    case 'block':
      return withContent({ status: 'block' }, [answer.bytes]);
    case 'payloads': {
      const payloads = answer.payloads.map((parts) => parts.map((bytes) => bytes?.length ?? null));
      return withContent({ status: 'payloads', payloads }, answer.payloads.flat());
    }
    case 'not-found':
      return encodeMessage(answer, HEAD_LIMITS);
  }
}

/** What the answer holds are views of it: copy what is kept. @throws ProtocolError `TOO_LARGE`, `MALFORMED`, or what a refusal stands for */
export function decodeAnswer(bytes: Uint8Array, peer: string): BlocksAnswer {
  if (bytes.length > MAX_ANSWER_BYTES) {
    const fields = { peer, bytes: bytes.length, limit: MAX_ANSWER_BYTES };
    throw new ProtocolError('TOO_LARGE', `A ${HEAD_LIMITS.what} is too large.`, fields);
  }
  if (bytes[0] !== CONTENT_FOLLOWS) {
    const answer = decodeMessage(bytes, HEAD_LIMITS, plainSchema, peer);
    if (answer.status === 'refused') throw refusalError(answer, peer);
    return answer;
  }
  const start = HEAD_PREFIX_BYTES + ((bytes[1] ?? 0) << 8) + (bytes[2] ?? 0);
  const head = decodeMessage(bytes.subarray(HEAD_PREFIX_BYTES, start), HEAD_LIMITS, headSchema, peer);
  const content = bytes.subarray(start);
  switch (head.status) {
    case 'object':
      return { ...head, bytes: checkedContent(content, OBJECT_PART_BYTES, peer) };
    case 'block':
      return { ...head, bytes: checkedContent(content, BLOCK_BYTES, peer) };
    case 'payloads':
      return { ...head, payloads: cut(content, head.payloads, peer) };
  }
}

/** The first byte of an answer with content: no plain message begins with it. Two bytes with the length of the head follow. */
const CONTENT_FOLLOWS = 0;
const HEAD_PREFIX_BYTES = 3;

/**
 * Content stands behind the head as it is: in dag-cbor every reader and writer would copy a mebibyte once more.
 */
function withContent(head: object, content: readonly (Uint8Array | null)[]): Uint8Array {
  const encoded = encodeMessage(head, HEAD_LIMITS);
  const prefix = Uint8Array.of(CONTENT_FOLLOWS, encoded.length >> 8, encoded.length & 0xff);
  const answer = Buffer.concat([prefix, encoded, ...content.filter((part) => part !== null)]);
  if (answer.length > MAX_ANSWER_BYTES) {
    const fields = { bytes: answer.length, limit: MAX_ANSWER_BYTES };
    throw new ProtocolError('TOO_LARGE', `This ${HEAD_LIMITS.what} cannot be sent.`, fields);
  }
  return answer;
}

function checkedContent(content: Uint8Array, most: number, peer: string): Uint8Array {
  if (content.length === 0 || content.length > most) throw badLength(peer);
  return content;
}

function cut(
  content: Uint8Array,
  sizes: readonly (readonly [number | null, number | null])[],
  peer: string,
): SentPayload[] {
  let at = 0;
  const next = (size: number | null): Uint8Array | null => {
    if (size === null) return null;
    at += size;
    return content.subarray(at - size, at);
  };
  const payloads = sizes.map(([manifest, bytes]): SentPayload => [next(manifest), next(bytes)]);
  if (at !== content.length) throw badLength(peer);
  return payloads;
}

function badLength(peer: string): ProtocolError {
  return new ProtocolError('MALFORMED', `${peer} sent other content than its answer says.`, { peer });
}
