import { privateKeyFromRaw } from '@libp2p/crypto/keys';
import type { Libp2p, Metrics } from '@libp2p/interface';
import type { Blocks, HostServices, Peers, Sync, SyncInit } from '../../protocols/index.ts';
import { blocks, createHost, logSource, peers, sync } from '../../protocols/index.ts';
import { keySeed, type SigningKey } from '../../src/log/index.ts';
import { VERSION } from '../version.ts';
import type { Heads } from './heads.ts';
import { knownPeers } from './known-peers.ts';
import { listening } from './listening.ts';
import type { NetworkCommunity } from './network-book.ts';
import { NodeBlocks } from './node-blocks.ts';
import type { PeerBook } from './peer-book.ts';

/** The node on the network, with the protocols of its community. */
export type NetworkHost = Libp2p<HostServices & { blocks: Blocks; sync: Sync; peers: Peers }>;

export interface NetworkOptions {
  readonly listen: readonly string[];
  /** Addresses that others are told to dial; those it listens on when empty. */
  readonly announce?: readonly string[];
  readonly charterBytes: Uint8Array;
  /** Watches connections and streams. */
  readonly metrics?: Metrics;
}

/**
 * Starts to listen, and serves what the node has: its log and newest heads, payloads and checkpoints, known peers.
 *
 * @throws NodeError `LISTEN_FAILED`
 */
export function startHost(
  options: NetworkOptions,
  components: {
    community: NetworkCommunity;
    key: SigningKey;
    heads: Heads;
    peers: PeerBook;
    /** Told what a peer says this node lacks. */
    onLacks: NonNullable<SyncInit['onLacks']>;
    /** Makes the host; libp2p's by default. The simulator has its own. */
    createHost?: typeof createHost;
  },
): Promise<NetworkHost> {
  const { community, key, heads, onLacks } = components;
  const { book, shelf } = community;
  const { charterId } = community.options;
  const create = components.createHost ?? createHost;
  return listening(options.listen, () =>
    create(
      {
        privateKey: privateKeyFromRaw(Buffer.concat([keySeed(key), key.publicKey])),
        listen: options.listen,
        announce: options.announce ?? [],
        version: VERSION,
        metrics: options.metrics,
        communities: [charterId],
      },
      {
        blocks: blocks({
          source: new NodeBlocks({ charterId, charterBytes: options.charterBytes }, { book, shelf }),
        }),
        sync: sync({
          source: logSource({
            log: book.log,
            charter: charterId,
            head: () => heads.own,
            hasHead: (digest) => heads.has(digest),
          }),
          onHead: (peer, head) => void heads.judge(head, peer.toString()),
          onLacks,
        }),
        peers: peers({ charter: charterId, source: () => knownPeers(components.peers) }),
      },
    ),
  );
}
