import { multiaddr } from '@multiformats/multiaddr';
import { describe, expect, test } from 'vitest';
import { parsePeerAddress, scopeOf } from '../../../protocols/addresses.ts';
import { formatJoinLine, JoinLineError, MAX_JOIN_LINE_CHARS, parseJoinLine } from '../../../protocols/join-line.ts';
import { testId } from '../log/helpers.ts';

const PEER = '12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp';
const ADDRESS = `/ip4/203.0.113.5/tcp/4001/p2p/${PEER}`;
const ID = testId(1);

function codeOf(text: string): string {
  try {
    parseJoinLine(text);
  } catch (error) {
    if (error instanceof JoinLineError) return error.code;
    throw error;
  }
  return 'none';
}

describe('a join line', () => {
  test.each([
    ADDRESS,
    `/ip6/2001:db8::1/tcp/4001/p2p/${PEER}`,
    `/dns4/node.example.org/tcp/443/p2p/${PEER}`,
    `/dns/node.example.org/tcp/1/p2p/${PEER}`,
    `/ip4/127.0.0.1/tcp/65535/p2p/${PEER}`,
  ])('survives the way there and back with %s', (address) => {
    const line = formatJoinLine(ID, multiaddr(address));
    expect(line).toBe(`kinmerge:${ID}@${address}`);
    const parsed = parseJoinLine(line);
    expect(parsed.community.equals(ID)).toBe(true);
    expect(parsed.address.toString()).toBe(address);
    expect(parsed.peer.toString()).toBe(PEER);
  });

  test.each([
    ['NOT_A_JOIN_LINE', ''],
    ['NOT_A_JOIN_LINE', `${ID}@${ADDRESS}`],
    ['NOT_A_JOIN_LINE', `kinmerge:${ID}`],
    ['NOT_A_JOIN_LINE', ` kinmerge:${ID}@${ADDRESS}`],
    ['NOT_A_JOIN_LINE', `KINMERGE:${ID}@${ADDRESS}`],
    ['BAD_COMMUNITY_ID', `kinmerge:@${ADDRESS}`],
    ['BAD_COMMUNITY_ID', `kinmerge:${ID.toString().toUpperCase()}@${ADDRESS}`],
    ['BAD_COMMUNITY_ID', `kinmerge:${ID.toString().slice(0, -1)}@${ADDRESS}`],
    ['BAD_COMMUNITY_ID', `kinmerge:QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG@${ADDRESS}`],
    ['BAD_PEER_ADDRESS', `kinmerge:${ID}@`],
    ['BAD_PEER_ADDRESS', `kinmerge:${ID}@/ip4/203.0.113.5/tcp/4001`],
    ['BAD_PEER_ADDRESS', `kinmerge:${ID}@/ip4/203.0.113.5/udp/4001/p2p/${PEER}`],
    ['BAD_PEER_ADDRESS', `kinmerge:${ID}@/ip4/0.0.0.0/tcp/4001/p2p/${PEER}`],
    ['BAD_PEER_ADDRESS', `kinmerge:${ID}@/ip4/203.0.113.5/tcp/0/p2p/${PEER}`],
    ['BAD_PEER_ADDRESS', `kinmerge:${ID}@/ip4/203.0.113.5/tcp/70000/p2p/${PEER}`],
    ['BAD_PEER_ADDRESS', `kinmerge:${ID}@${ADDRESS}/p2p-circuit/p2p/${PEER}`],
    ['BAD_PEER_ADDRESS', `kinmerge:${ID}@${ADDRESS} `],
    ['BAD_PEER_ADDRESS', `kinmerge:${ID}@${ADDRESS}@${ADDRESS}`],
    ['BAD_PEER_ADDRESS', `kinmerge:${ID}@/ip4/203.0.113.5/tcp/4001/p2p/${PEER.slice(0, -1)}`],
    ['BAD_PEER_ADDRESS', `kinmerge:${ID}@/ip4/203.0.113.5/tcp/04001/p2p/${PEER}`],
    ['JOIN_LINE_TOO_LONG', `kinmerge:${ID}@/dns/${'a'.repeat(MAX_JOIN_LINE_CHARS)}/tcp/1/p2p/${PEER}`],
  ])('is refused with %s: %s', (code, text) => {
    expect(codeOf(text)).toBe(code);
  });

  test('is not made of an address without a peer', () => {
    expect(() => formatJoinLine(ID, multiaddr('/ip4/203.0.113.5/tcp/4001'))).toThrow(JoinLineError);
  });
});

describe('an address', () => {
  test.each([
    ['/ip4/127.0.0.1', 0],
    ['/ip6/::1', 0],
    ['/ip4/10.1.2.3', 1],
    ['/ip4/192.168.0.7', 1],
    ['/ip6/fd00::7', 1],
    ['/ip4/1.1.1.1', 2],
    ['/dns/node.example.org', 2],
  ])('%s/… can be dialled from scope %i', (host, scope) => {
    const address = `${host}/tcp/4001/p2p/${PEER}`;
    const parsed = parsePeerAddress(address);
    expect(parsed?.id.toString()).toBe(PEER);
    expect(scopeOf(parsed!.address)).toBe(scope);
  });
});
