import { EventEmitter } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { CID } from 'multiformats/cid';
import pino from 'pino';
import { CheckpointShelf } from '../../../node/core/checkpoint-shelf.ts';
import type { CommunityEvents } from '../../../node/core/community.ts';
import { RecordBook } from '../../../node/core/record-book.ts';
import { loadOrCreateKey } from '../../../node/home/keys.ts';
import { type HomePaths, homePaths } from '../../../node/home/paths.ts';
import { Network } from '../../../node/net/network.ts';
import type { NetworkCommunity } from '../../../node/net/network-book.ts';
import { PeerBook } from '../../../node/net/peer-book.ts';
import { peerFromText } from '../../../node/peer-address.ts';
import { charterId, decodeCharter } from '../../../src/log/index.ts';

export const silent = pino({ level: 'silent' });

/**
 * A node's part in a community that fetches, checks, stores and serves updates as the daemon does, and decides on none:
 * admission and fold run in threads of their own, whose processor time is not that of catching up.
 */
export class Holder extends EventEmitter<CommunityEvents> implements NetworkCommunity {
  readonly options: { readonly charterId: CID };
  readonly book: RecordBook;
  readonly shelf = new CheckpointShelf();
  readonly view = undefined;
  readonly offered = () => undefined;
  readonly #home: HomePaths;
  readonly #charterBytes: Uint8Array;
  #network: Network | undefined;

  static async open(root: string): Promise<Holder> {
    const home = homePaths(root);
    const holder = new Holder(home, await readFile(home.charter));
    await holder.book.open();
    return holder;
  }

  private constructor(home: HomePaths, charterBytes: Uint8Array) {
    super();
    this.#home = home;
    this.#charterBytes = charterBytes;
    this.options = { charterId: charterId(charterBytes) };
    this.book = new RecordBook(
      { home, charter: decodeCharter(charterBytes), charterId: this.options.charterId },
      {
        logger: silent,
        listener: {
          onHeld: (records) => this.emit('held', records),
          onMissing: () => this.emit('missing'),
          onSeal: () => {},
          onEquivocations: () => {},
        },
      },
    );
  }

  /**
   * Goes on the network, and connects to the peers.
   *
   * @returns the addresses that it listens on
   */
  async connect(peers: readonly string[]): Promise<string[]> {
    const book = new PeerBook({ path: this.#home.peers });
    for (const { id, address } of peers.map(peerFromText)) book.learn(id, [address], 'configured');
    this.#network = await Network.start(
      { listen: ['/ip4/127.0.0.1/tcp/0'], charterBytes: this.#charterBytes },
      {
        community: this,
        key: await loadOrCreateKey(this.#home.nodeKey),
        book,
        logger: silent,
        listener: { onPeer: () => {} },
      },
    );
    return this.#network.addresses();
  }

  /** Waits until this many records are held, which means that they and their payloads are durable. */
  async holds(count: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = () => {
      if (this.book.log.size >= count) resolve();
    };
    this.on('held', look);
    look();
    await promise;
    this.off('held', look);
  }

  async close(): Promise<void> {
    await this.#network?.stop();
    await this.book.close();
  }
}
