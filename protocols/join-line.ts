/** The line that another node joins with: `kinmerge:<community id>@<multiaddr with /p2p/>`. */
import type { PeerId } from '@libp2p/interface';
import type { Multiaddr } from '@multiformats/multiaddr';
import type { CID } from 'multiformats/cid';
import { KinmergeError } from '../src/errors.ts';
import { parseId } from '../src/log/index.ts';
import { parsePeerAddress } from './addresses.ts';

/** Characters of a join line: an id of 59 and the longest address by far. */
export const MAX_JOIN_LINE_CHARS = 1_024;

const SCHEME = 'kinmerge:';

export type JoinLineErrorCode =
  /** Longer than any join line. */
  | 'JOIN_LINE_TOO_LONG'
  /** Not of the form `kinmerge:<community id>@<address>`. */
  | 'NOT_A_JOIN_LINE'
  /** The part before `@` is not a community id. */
  | 'BAD_COMMUNITY_ID'
  /** The part after `@` is not `/ip4|ip6|dns…/tcp/PORT/p2p/ID`. */
  | 'BAD_PEER_ADDRESS';

export class JoinLineError extends KinmergeError<JoinLineErrorCode> {}

export interface JoinLine {
  /** Id of the community's first charter. */
  readonly community: CID;
  /** Ends in the peer's id. */
  readonly address: Multiaddr;
  readonly peer: PeerId;
}

/** @throws JoinLineError */
export function parseJoinLine(text: string): JoinLine {
  if (text.length > MAX_JOIN_LINE_CHARS) {
    throw new JoinLineError('JOIN_LINE_TOO_LONG', `A join line has at most ${MAX_JOIN_LINE_CHARS} characters.`, {
      chars: text.length,
      limit: MAX_JOIN_LINE_CHARS,
    });
  }
  const at = text.indexOf('@');
  if (!text.startsWith(SCHEME) || at < 0) {
    const message = 'A join line is kinmerge:<community id>@<address>; copy the whole line that the other node prints.';
    throw new JoinLineError('NOT_A_JOIN_LINE', message, { text });
  }
  const id = text.slice(SCHEME.length, at);
  let community: CID;
  try {
    community = parseId(id);
  } catch (cause) {
    const message = `${JSON.stringify(id)} is not a community id; copy the whole line that the other node prints.`;
    throw new JoinLineError('BAD_COMMUNITY_ID', message, { id }, { cause });
  }
  const address = text.slice(at + 1);
  const parsed = parsePeerAddress(address);
  if (parsed === undefined) {
    const message = `${JSON.stringify(address)} is not a peer's address like /ip4/203.0.113.5/tcp/4001/p2p/12D3Koo…`;
    throw new JoinLineError('BAD_PEER_ADDRESS', message, { address });
  }
  return { community, address: parsed.address, peer: parsed.id };
}

/** @throws JoinLineError `BAD_PEER_ADDRESS` */
export function formatJoinLine(community: CID, address: Multiaddr): string {
  const parsed = parsePeerAddress(address);
  if (parsed === undefined) {
    const message = `${address} does not name a host, a TCP port and a peer; a join line needs all three.`;
    throw new JoinLineError('BAD_PEER_ADDRESS', message, { address: address.toString() });
  }
  return `${SCHEME}${community}@${parsed.address}`;
}
