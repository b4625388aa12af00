import { generateKeyPair } from '@libp2p/crypto/keys';
import type { Libp2p } from '@libp2p/interface';
import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id';
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  type KnownPeer,
  MAX_ADDRESSES,
  MAX_PEERS,
  PEERS_PROTOCOL,
  type Peers,
  peers,
} from '../../../protocols/index.ts';
import { REQUEST_RATE } from '../../../protocols/peers/constants.ts';
import { testId } from '../../unit/log/helpers.ts';
import { answerRaw, COMMUNITY, cbor, connect, failure, startNode, startRawPeer } from './support.ts';

let ids: string[];
beforeAll(async () => {
  ids = await Promise.all(
    Array.from({ length: MAX_PEERS + 8 }, async () =>
      peerIdFromPrivateKey(await generateKeyPair('Ed25519')).toString(),
    ),
  );
});

const at = (id: string, port = 4001, host = '127.0.0.1'): Multiaddr => multiaddr(`/ip4/${host}/tcp/${port}/p2p/${id}`);

function known(addresses: readonly Multiaddr[]): KnownPeer {
  const text = addresses[0]!.getComponents().at(-1)!.value!;
  const { id } = parse(text);
  return { id, addresses };
}

function parse(id: string): Pick<KnownPeer, 'id'> {
  return { id: peerIdFromString(id) };
}

function node(source: () => readonly KnownPeer[] = () => []): Promise<Libp2p<{ peers: Peers }>> {
  return startNode<{ peers: Peers }>({ peers: peers({ charter: COMMUNITY, source }) });
}

async function asking(reply: () => unknown): Promise<{ answer: Promise<KnownPeer[]>; self: string; liar: string }> {
  const server = await startRawPeer(PEERS_PROTOCOL, (stream) => answerRaw(stream, () => cbor(reply())));
  const client = await node();
  const peer = await connect(client, server);
  return { answer: client.services.peers.ask(peer), self: client.peerId.toString(), liar: peer.toString() };
}

describe('an exchange of addresses', () => {
  test('brings the peers that the other knows, without the one that asks', async () => {
    const list: KnownPeer[] = [known([at(ids[0]!), at(ids[0]!, 4002)]), known([at(ids[1]!)])];
    const server = await node(() => list);
    const client = await node();
    list.push({ id: client.peerId, addresses: client.getMultiaddrs() });
    const got = await client.services.peers.ask(await connect(client, server));
    expect(got.map(({ id, addresses }) => [id.toString(), addresses.map(String)])).toEqual([
      [ids[0], [at(ids[0]!).toString(), at(ids[0]!, 4002).toString()]],
      [ids[1], [at(ids[1]!).toString()]],
    ]);
  });

  test('is cut to its bounds by the server', async () => {
    const ports = Array.from({ length: MAX_ADDRESSES + 3 }, (_, i) => 4_000 + i);
    const server = await node(() => ids.map((id) => known(ports.map((port) => at(id, port)))));
    const client = await node();
    const got = await client.services.peers.ask(await connect(client, server));
    expect(got).toHaveLength(MAX_PEERS);
    expect(got.every(({ addresses }) => addresses.length === MAX_ADDRESSES)).toBe(true);
  });

  test('passes on no address that is not one of a peer', async () => {
    const server = await node(() => [
      known([multiaddr(`/ip4/127.0.0.1/udp/1/p2p/${ids[0]}`), at(ids[0]!)]),
      { ...parse(ids[1]!), addresses: [at(ids[2]!)] },
      { ...parse(ids[3]!), addresses: [multiaddr('/ip4/127.0.0.1/tcp/1')] },
    ]);
    const client = await node();
    const got = await client.services.peers.ask(await connect(client, server));
    expect(got.map(({ id, addresses }) => `${id} ${addresses}`)).toEqual([`${ids[0]} ${at(ids[0]!)}`]);
  });

  test('of another community is refused', async () => {
    const server = await startNode<{ peers: Peers }>({ peers: peers({ charter: testId(3), source: () => [] }) });
    const client = await node();
    const error = await failure(client.services.peers.ask(await connect(client, server)));
    expect(error.code).toBe('WRONG_COMMUNITY');
  });

  test('is limited to a few per minute', async () => {
    const server = await node();
    const client = await node();
    const peer = await connect(client, server);
    for (let i = 0; i < REQUEST_RATE.burst; i++) await client.services.peers.ask(peer);
    expect((await failure(client.services.peers.ask(peer))).code).toBe('RATE_LIMITED');
  });
});

describe('a client', () => {
  test('drops what is not one dialable address of one other peer, and keeps the rest', async () => {
    let lists: Uint8Array[][] = [];
    const { answer, self } = await asking(() => {
      lists = [
        [at(ids[0]!).bytes],
        [at(ids[0]!, 4002).bytes],
        [at(ids[1]!).bytes, at(ids[2]!).bytes],
        [multiaddr('/ip4/127.0.0.1/tcp/4001').bytes],
        [multiaddr(`/ip4/127.0.0.1/tcp/4001/p2p/${ids[3]}/p2p-circuit/p2p/${ids[4]}`).bytes],
        [multiaddr(`/ip4/0.0.0.0/tcp/4001/p2p/${ids[3]}`).bytes],
        [multiaddr(`/ip4/127.0.0.1/tcp/0/p2p/${ids[3]}`).bytes],
        [Uint8Array.from([1, 2, 3])],
        [at(self).bytes],
        [at(ids[5]!).bytes, at(ids[5]!).bytes],
      ];
      return { status: 'peers', peers: lists };
    });
    const got = await answer;
    expect(got.map(({ id, addresses }) => [id.toString(), addresses.length])).toEqual([
      [ids[0], 1],
      [ids[5], 1],
    ]);
    expect(lists).toHaveLength(10);
  });

  test.each([
    ['more peers than allowed', 'MALFORMED', () => ids.slice(0, MAX_PEERS + 1).map((id) => [at(id).bytes])],
    ['more addresses than allowed', 'MALFORMED', () => [Array(MAX_ADDRESSES + 1).fill(at(ids[0]!).bytes)]],
    ['an empty list of addresses', 'MALFORMED', () => [[]]],
    ['an address longer than allowed', 'MALFORMED', () => [[new Uint8Array(321)]]],
    ['an answer above its size', 'TOO_LARGE', () => [[new Uint8Array(100_000)]]],
  ])('refuses %s', async (_name, code, lists) => {
    const { answer, liar } = await asking(() => ({ status: 'peers', peers: lists() }));
    const error = await failure(answer);
    expect(error.code).toBe(code);
    expect(error.peer).toBe(liar);
  });
});
