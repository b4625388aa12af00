import { generateKeyPair } from '@libp2p/crypto/keys';
import type { Libp2p } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { multiaddr } from '@multiformats/multiaddr';
import type { CID } from 'multiformats/cid';
import { describe, expect, onTestFinished, test } from 'vitest';
import { loadOrCreateKey } from '../../../node/home/keys.ts';
import { DIAL_TICK_MS, TARGET_CONNECTIONS } from '../../../node/net/dialer.ts';
import { dialableFrom } from '../../../node/net/known-peers.ts';
import { Network } from '../../../node/net/network.ts';
import { PeerBook } from '../../../node/net/peer-book.ts';
import { announcedFromText } from '../../../node/peer-address.ts';
import {
  type Blocks,
  blocks,
  createHost,
  fixedSource,
  type Peers,
  peers,
  type Sync,
  sync,
} from '../../../protocols/index.ts';
import { decodeSignedHead, encodeSigned, generateKey, MAX_PENDING_PER_SOURCE } from '../../../src/log/index.ts';
import { settle, startNode, stranger } from '../../fault/support.ts';
import {
  eventually,
  keptLog,
  makePond,
  newHome,
  openCommunity,
  type Pond,
  payloadOf,
  silent,
  updateOf,
} from '../../unit/node/support.ts';

/** Any peer's id. */
const ID = '12D3KooWQhxWMZfgzUCGJV1s9ZXhd7nKYuRf5oE6KW8F9mFytoM1';

async function networkOf(pond: Pond, listen: readonly string[], fold = false, announce: readonly string[] = []) {
  const home = await newHome(pond);
  const community = await openCommunity(pond, { home, fold });
  const book = new PeerBook({ path: home.peers });
  const start = async () => {
    const network = await Network.start(
      { listen, announce, charterBytes: pond.charterBytes },
      { community, key: await loadOrCreateKey(home.nodeKey), book, logger: silent, listener: { onPeer: () => {} } },
    );
    onTestFinished(() => network.stop());
    return network;
  };
  return { community, book, start };
}

const emptyLog = (pond: Pond) => sync({ source: fixedSource(pond.charterId) });

/** A peer of the community as far as the network can tell. */
async function member(pond: Pond, listen = ['/ip4/127.0.0.1/tcp/0']): Promise<Libp2p<{ sync: Sync; peers: Peers }>> {
  const privateKey = await generateKeyPair('Ed25519');
  const host = await createHost<{ sync: Sync; peers: Peers }>(
    { privateKey, listen, version: '0.0.0-test', communities: [pond.charterId] },
    { sync: emptyLog(pond), peers: peers({ charter: pond.charterId, source: () => [] }) },
  );
  onTestFinished(() => host.stop());
  return host;
}

const at = (addresses: readonly string[]) => addresses.map((address) => multiaddr(address));

describe('connections', () => {
  test('that came in do not keep the node from dialling whom it knows', async () => {
    const pond = await makePond();
    const { book, start } = await networkOf(pond, ['/ip4/127.0.0.1/tcp/0']);
    const network = await start();
    for (let i = 0; i <= TARGET_CONNECTIONS; i++) {
      const sybil = await member(pond);
      await sybil.dial(at(network.addresses()));
    }
    await eventually(() => expect(network.connected().length).toBeGreaterThan(TARGET_CONNECTIONS));
    const friend = await member(pond);
    book.learn(friend.peerId.toString(), friend.getMultiaddrs().map(String), 'hearsay');
    await eventually(() => expect(network.connected()).toContain(friend.peerId.toString()));
  });

  test('with peers that are none of the community do not stay', async () => {
    const pond = await makePond();
    const { book, start } = await networkOf(pond, []);
    const other = await createHost(
      {
        privateKey: await generateKeyPair('Ed25519'),
        listen: ['/ip4/127.0.0.1/tcp/0'],
        version: '0.0.0-test',
        communities: [],
      },
      {},
    );
    onTestFinished(() => other.stop());
    let dials = 0;
    other.addEventListener('connection:open', () => {
      dials++;
    });
    book.learn(other.peerId.toString(), other.getMultiaddrs().map(String), 'hearsay');
    const network = await start();
    await eventually(() => expect(dials).toBe(1));
    await eventually(() => expect(network.connected()).toEqual([]));
  });
});

describe('nodes that know one common node', () => {
  test('find each other through it, and outlive it', async () => {
    const pond = await makePond();
    const hub = await startNode(pond);
    const others = await Promise.all([0, 1, 2].map(() => startNode(pond, { peers: [hub] })));
    const meshed = (peers: number) => {
      for (const { network } of others) expect(network.connected()).toHaveLength(peers);
    };
    await eventually(() => meshed(3), 40_000);
    await hub.stop();
    await eventually(() => meshed(2));
    await settle(2_000);
    meshed(2);
  }, 60_000);
});

describe('the addresses that are passed on', () => {
  test('are those of peers that this node has reached itself', async () => {
    const pond = await makePond();
    const { start } = await networkOf(pond, ['/ip4/127.0.0.1/tcp/0']);
    const network = await start();
    const honest = await member(pond);
    // Says that it listens where nobody does.
    const liar = await member(pond, []);
    network.book.learn(liar.peerId.toString(), [`/ip4/127.0.0.1/tcp/9/p2p/${liar.peerId}`], 'peer');
    await honest.dial(at(network.addresses()));
    await liar.dial(at(network.addresses()));
    const asking = await member(pond);
    const { remotePeer } = await asking.dial(at(network.addresses()));
    await eventually(() => expect(network.book.get(honest.peerId.toString())?.reached).toBeGreaterThan(0));
    await settle(2 * DIAL_TICK_MS);
    expect(network.book.get(liar.peerId.toString())).toMatchObject({ reached: 0 });
    const known = await asking.services.peers.ask(remotePeer);
    expect(known.map(({ id }) => id.toString())).toEqual([honest.peerId.toString()]);
    // The dial that proves it leaves the connection as it was.
    expect(network.connected()).toContain(honest.peerId.toString());
    await eventually(() => expect(honest.getConnections(remotePeer)).toHaveLength(1));
  });

  test('of a peer on the internet are never private ones', async () => {
    const id = peerIdFromPrivateKey(await generateKeyPair('Ed25519')).toString();
    const said = [
      '/ip4/192.168.1.1/tcp/80',
      '/ip4/127.0.0.1/tcp/80',
      '/ip4/93.184.216.34/tcp/4001',
      '/ip4/10.0.0.1/tcp/1',
    ];
    const taken = (remote: string) => dialableFrom(multiaddr(remote), at(said), id);
    expect(taken('/ip4/93.184.216.34/tcp/5555')).toEqual([`/ip4/93.184.216.34/tcp/4001/p2p/${id}`]);
    expect(taken('/ip4/192.168.1.7/tcp/5555')).toHaveLength(3);
    expect(taken('/ip4/127.0.0.1/tcp/5555')).toHaveLength(4);
  });
});

describe('a payload', () => {
  test('comes in although a peer announces many that do not exist and stalls every request', async () => {
    const pond = await makePond();
    const node = await startNode(pond);
    let stalled = 0;
    const stall = () => {
      stalled++;
      return new Promise<undefined>(() => {});
    };
    const liar = await stranger<{ blocks: Blocks }>(pond, node, {
      blocks: blocks({ source: { object: stall, block: stall } }),
    });
    for (let i = 0; i < 12; i++) {
      await liar.announce(await updateOf(pond, generateKey(), payloadOf(pond, 100 + i)), null);
    }
    await eventually(() => expect(stalled).toBeGreaterThan(1));
    const update = await updateOf(pond, generateKey(), payloadOf(pond, 1));
    const honest = await stranger<{ blocks: Blocks }>(pond, node, {
      blocks: blocks({
        source: {
          object: async (id) => (id.equals(update.manifest.id) ? update.manifest.bytes : undefined),
          block: async (id) => (id.equals(update.manifest.id) ? update.payload : undefined),
        },
      }),
    });
    await honest.announce(update, null);
    // One turn of the manifests that nobody has, and then its own.
    await eventually(() => expect(node.community.book.log.state(update.signed.id)).toBe('held'), 25_000);
  }, 60_000);
});

describe('a peer with more records than may wait', () => {
  test('is known to have more', async () => {
    const pond = await makePond();
    const { logger, lines } = keptLog();
    const node = await startNode(pond, { logger });
    const { signed } = await updateOf(pond, generateKey(), payloadOf(pond, 1));
    const records: { id: CID; bytes: Uint8Array }[] = [];
    const { follow, testKey } = await import('../../unit/log/helpers.ts');
    for (let i = 0; i < MAX_PENDING_PER_SOURCE + 20; i++) {
      const options = { payload: signed.record.payload, title: 'without a payload' };
      const made = follow(testKey(i), pond.charterId, null, [], options);
      records.push({ id: made.id, bytes: encodeSigned(made) });
    }
    const peer = await stranger<{ sync: Sync }>(pond, node, {
      sync: sync({ source: fixedSource(pond.charterId, records) }),
    });
    await eventually(() => {
      expect(lines).toContainEqual(
        expect.objectContaining({
          peer: peer.host.peerId.toString(),
          msg: 'a peer has more records than may wait here; the rest comes later',
        }),
      );
    }, 30_000);
    expect(node.community.book.log.pendingSize).toBe(MAX_PENDING_PER_SOURCE);
  }, 60_000);
});

describe('a checkpoint', () => {
  test('that was finished before the node was on the network is offered all the same', async () => {
    const pond = await makePond();
    const { community, start } = await networkOf(pond, [], true);
    await eventually(() => expect(community.checkpoint).toBeDefined(), 30_000);
    const network = await start();
    await eventually(() => expect(network.heads.own).not.toBeNull());
    const { head } = decodeSignedHead(network.heads.own!);
    expect(head.checkpoint?.toString()).toBe(community.offered(community.view!.recipeId)!.toString());
  }, 60_000);
});

describe('an address to announce', () => {
  test('is told to others in place of those that the node listens on', async () => {
    const pond = await makePond();
    const plain = '/dns4/node.example.org/tcp/4001';
    const { start } = await networkOf(pond, ['/ip4/127.0.0.1/tcp/0', '/ip4/127.0.0.1/tcp/0'], false, [plain]);
    const proxied = await start();
    expect(proxied.addresses()).toEqual([`${plain}/p2p/${proxied.peerId}`]);
    expect(proxied.joinLines()).toEqual([`kinmerge:${pond.charterId}@${plain}/p2p/${proxied.peerId}`]);
    const other = await startNode(pond);
    proxied.book.learn(other.network.peerId, other.network.addresses(), 'configured');
    await eventually(() => {
      expect(other.network.book.get(proxied.peerId)?.addresses).toEqual([`${plain}/p2p/${proxied.peerId}`]);
    });
  });

  test.each([
    '/ip4/0.0.0.0/tcp/4001',
    '/ip4/10.0.0.1/tcp/0',
    '/ip4/10.0.0.1/udp/1',
    'node:4001',
    `/dns/a/tcp/1/p2p/${ID}`,
  ])('that is %s is refused', (text) => {
    expect(() => announcedFromText(text)).toThrowError(
      expect.objectContaining({ code: 'USAGE', fields: { address: text } }),
    );
  });
});

describe('an address to listen on', () => {
  test('that is in use, of another machine or no address is named in an error with a code', async () => {
    const pond = await makePond();
    const first = await (await networkOf(pond, ['/ip4/127.0.0.1/tcp/0'])).start();
    const used = first.addresses()[0]!.replace(/\/p2p\/.*/, '');
    const bad = [
      used,
      '/ip4/93.184.216.34/tcp/4001',
      'localhost:4001',
      '/ip4/127.0.0.1/udp/1/quic-v1',
      '/ip4/127.0.0.1/tcp/99999',
    ];
    for (const address of bad) {
      const { start } = await networkOf(pond, ['/ip4/127.0.0.1/tcp/0', address]);
      await expect(start()).rejects.toMatchObject({
        code: 'LISTEN_FAILED',
        fields: { address },
        message: expect.stringMatching(/use|choose|write/),
      });
    }
  });
});
