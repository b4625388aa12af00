/**
 * Messages are canonical dag-cbor with a declared shape: size first, then nesting and item count, then structure, then
 * shape; and only the one canonical encoding passes, or one message could travel as many. Of large answers, which travel
 * once, any strict encoding does (`transient`).
 */
import type { CID } from 'multiformats/cid';
import * as z from 'zod';
import { errorCode } from '../src/errors.ts';
import { type DocumentLimits, decodeCanonical, encodeCanonical, isLogId } from '../src/log/canonical.ts';
import { ProtocolError } from './errors.ts';
import { MAX_REFUSAL_BYTES } from './limits.ts';

export type MessageLimits = DocumentLimits;

/** A CIDv1 of dag-cbor with sha2-256: the only form of id in the protocols. */
export const cidSchema = z.custom<CID>(isLogId, 'expected a content id');

/** Bytes of at most `max` (and at least `min`) length. */
export function bytesSchema(max: number, min = 0) {
  return z.custom<Uint8Array>(
    (value) => value instanceof Uint8Array && value.length <= max && value.length >= min,
    `expected ${min} to ${max} bytes`,
  );
}

/** A safe integer from `min` to `max`. */
export function intSchema(min: number, max: number) {
  return z.int().min(min).max(max);
}

/** Encodes a message. @throws ProtocolError `TOO_LARGE` when it exceeds the limits of its kind. */
export function encodeMessage(message: object, limits: MessageLimits): Uint8Array {
  try {
    return encodeCanonical(message, limits);
  } catch (cause) {
    const code = errorCode(cause) === 'TOO_LARGE' ? 'TOO_LARGE' : 'MALFORMED';
    throw new ProtocolError(code, `This ${limits.what} cannot be sent.`, { limit: limits.maxBytes }, { cause });
  }
}

/**
 * Decodes one message of a declared shape.
 *
 * @throws ProtocolError `TOO_LARGE`, or `MALFORMED` for anything but the canonical encoding of that shape.
 */
export function decodeMessage<T extends z.ZodType>(
  bytes: Uint8Array,
  limits: MessageLimits,
  schema: T,
  peer?: string,
): z.output<T> {
  const whose = peer === undefined ? {} : { peer };
  let value: unknown;
  try {
    value = decodeCanonical(bytes, limits);
  } catch (cause) {
    const code = errorCode(cause) === 'TOO_LARGE' ? 'TOO_LARGE' : 'MALFORMED';
    const fields = { ...whose, bytes: bytes.length, limit: limits.maxBytes, reason: errorCode(cause) };
    throw new ProtocolError(code, `A ${limits.what} is not acceptable: ${errorCode(cause)}.`, fields, { cause });
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const path = issue?.path.join('.') ?? '';
    const message = `A ${limits.what} does not have the expected shape (${path}: ${issue?.message}).`;
    throw new ProtocolError('MALFORMED', message, { ...whose, path });
  }
  return parsed.data;
}

/** Longest time that a refusal may ask a client to wait; what a peer says beyond is cut to it. Milliseconds. */
export const MAX_RETRY_AFTER_MS = 60_000;

/** What every server may answer instead of a result; it ends the stream. */
export const refusalSchema = z.strictObject({
  status: z.literal('refused'),
  reason: z.enum(['busy', 'rate-limited', 'wrong-community', 'malformed', 'failed']),
  retryAfterMs: intSchema(0, MAX_RETRY_AFTER_MS),
});
export type Refusal = z.infer<typeof refusalSchema>;
export type RefusalReason = Refusal['reason'];

const REFUSAL_LIMITS: MessageLimits = { what: 'refusal', maxBytes: MAX_REFUSAL_BYTES, maxDepth: 2, maxItems: 16 };

export function encodeRefusal(reason: RefusalReason, retryAfterMs = 0): Uint8Array {
  const wait = Math.min(Math.max(0, Math.ceil(retryAfterMs)), MAX_RETRY_AFTER_MS);
  const refusal: Refusal = { status: 'refused', reason, retryAfterMs: wait };
  return encodeMessage(refusal, REFUSAL_LIMITS);
}

/** The error that a client gets for a refusal. */
export function refusalError(refusal: Refusal, peer: string): ProtocolError {
  const fields = { peer, retryAfterMs: refusal.retryAfterMs };
  switch (refusal.reason) {
    case 'busy':
      return new ProtocolError('BUSY', `${peer} is busy; try again in ${refusal.retryAfterMs} ms.`, fields);
    case 'rate-limited':
      return new ProtocolError('RATE_LIMITED', `${peer} limits requests; wait ${refusal.retryAfterMs} ms.`, fields);
    case 'wrong-community':
      return new ProtocolError('WRONG_COMMUNITY', `${peer} belongs to another community; use another peer.`, fields);
    default:
      return new ProtocolError('REFUSED', `${peer} refused the request (${refusal.reason}).`, fields);
  }
}
