import { KinmergeError } from '../src/errors.ts';

/** Why talking to a peer failed. Codes from `MALFORMED` on to `OVERFLOW` mean that the peer broke the protocol. */
export type ProtocolErrorCode =
  /** The peer could not be dialled, or does not speak this protocol. */
  | 'UNREACHABLE'
  /** No progress within the time limit. */
  | 'TIMEOUT'
  /** The stream ended or was reset before the answer was complete. */
  | 'TRUNCATED'
  /** The peer does not have what was asked for. */
  | 'NOT_FOUND'
  /** The peer wants fewer requests; `fields.retryAfterMs` says when to come back. */
  | 'RATE_LIMITED'
  /** The peer is serving too many others now; `fields.retryAfterMs` says when to come back. */
  | 'BUSY'
  /** The peer belongs to another community. */
  | 'WRONG_COMMUNITY'
  /** The peer answered that it failed or did not understand the request. */
  | 'REFUSED'
  /** A message does not have the form of this protocol. */
  | 'MALFORMED'
  /** A message is larger than this protocol allows. */
  | 'TOO_LARGE'
  /** Bytes that do not have the promised hash or length. */
  | 'BAD_BYTES'
  /** A record that is not the one asked for, or does not decode. */
  | 'BAD_RECORD'
  /** Records out of order, repeated, or without their parents. */
  | 'OUT_OF_ORDER'
  /** An answer that promises more but brings nothing. */
  | 'NO_PROGRESS'
  /** More bytes than were asked for. */
  | 'OVERFLOW'
  /** No peer, or all of them together, could give everything; `fields.faults` lists what each did. */
  | 'INCOMPLETE'
  /** The local source of data failed. */
  | 'LOCAL_SOURCE_FAILED';

/** What went wrong between this node and one peer. `fields.peer` names the peer where there is one. */
export class ProtocolError extends KinmergeError<ProtocolErrorCode> {
  get peer(): string | undefined {
    const peer = this.fields.peer;
    return typeof peer === 'string' ? peer : undefined;
  }
}

const BREACHES: ReadonlySet<string> = new Set<ProtocolErrorCode>([
  'MALFORMED',
  'TOO_LARGE',
  'BAD_BYTES',
  'BAD_RECORD',
  'OUT_OF_ORDER',
  'NO_PROGRESS',
  'OVERFLOW',
]);

/** Whether the error shows that the peer broke the protocol, rather than that the network or the peer failed. */
export function isBreach(error: unknown): error is ProtocolError {
  return error instanceof ProtocolError && BREACHES.has(error.code);
}
