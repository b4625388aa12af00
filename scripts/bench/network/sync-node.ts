import { EventEmitter } from 'node:events';
import { mkdir, readFile } from 'node:fs/promises';
import { generateKeyPair } from '@libp2p/crypto/keys';
import type { Libp2p, PeerId } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import { CheckpointShelf } from '../../../node/core/checkpoint-shelf.ts';
import { RecordBook } from '../../../node/core/record-book.ts';
import { homePaths } from '../../../node/home/paths.ts';
import { Fetcher } from '../../../node/net/fetcher.ts';
import { NodeBlocks } from '../../../node/net/node-blocks.ts';
import { type Blocks, blocks, createHost, logSource, type Sync, sync } from '../../../protocols/index.ts';
import {
  charterId,
  decodeCharter,
  encodeSignedHead,
  frontierOf,
  generateKey,
  isSealEntry,
  payloadOf,
  type SignedRecord,
  type SigningKey,
  signHead,
} from '../../../src/log/index.ts';
import { silent } from './holder.ts';

interface Events {
  held: [];
  missing: [];
}

interface BenchUpdate {
  readonly signed: SignedRecord;
  readonly bytes: number;
}

/**
 * The parts of a node that a sync goes through (host, sync, blocks, fetcher, book), put together so that one exchange
 * can be asked for and its streams counted. No timer asks for another one.
 */
export class SyncNode {
  readonly charterId: CID;
  readonly book: RecordBook;
  readonly host: Libp2p & { services: { blocks: Blocks; sync: Sync } };
  readonly #fetcher: Fetcher;
  readonly #events: EventEmitter<Events>;

  static async start(directory: string, charterPath: string): Promise<SyncNode> {
    const charterBytes = await readFile(charterPath);
    const charter = decodeCharter(charterBytes);
    const id = charterId(charterBytes);
    const home = homePaths(directory);
    await mkdir(home.tmp, { recursive: true });
    const events = new EventEmitter<Events>();
    const book = new RecordBook(
      { home, charter, charterId: id },
      {
        logger: silent,
        listener: {
          onHeld: () => events.emit('held'),
          onMissing: () => events.emit('missing'),
          onSeal: () => {},
          onEquivocations: () => {},
        },
      },
    );
    await book.open();
    const key = generateKey();
    const head = () => headOf(book, id, key);
    const host = await createHost(
      {
        privateKey: await generateKeyPair('Ed25519'),
        listen: ['/ip4/127.0.0.1/tcp/0'],
        version: 'bench',
        communities: [id],
      },
      {
        blocks: blocks({
          source: new NodeBlocks({ charterId: id, charterBytes }, { book, shelf: new CheckpointShelf() }),
        }),
        sync: sync({ source: logSource({ log: book.log, charter: id, head }) }),
      },
    );
    const fetcher = new Fetcher({ book, blocks: host.services.blocks, peers: () => host.getPeers(), logger: silent });
    events.on('missing', () => fetcher.poke());
    return new SyncNode(id, book, host, fetcher, events);
  }

  private constructor(
    id: CID,
    book: RecordBook,
    host: SyncNode['host'],
    fetcher: Fetcher,
    events: EventEmitter<Events>,
  ) {
    this.charterId = id;
    this.book = book;
    this.host = host;
    this.#fetcher = fetcher;
    this.#events = events;
  }

  /** Puts updates into the log alone, as if the disk had them. */
  remember(updates: Iterable<BenchUpdate>): void {
    for (const { signed, bytes } of updates) {
      this.book.log.setPayload(payloadOf(signed.record)!, bytes);
      this.book.log.addRecord(signed);
    }
  }

  /** Asks a peer for what it has more, and waits until all of that is held. */
  async pull(peer: PeerId, held: number): Promise<void> {
    await this.host.services.sync.pull(peer, async (entries) => {
      for (const signed of entries) {
        if (isSealEntry(signed)) continue;
        const { outcome } = await this.book.take(signed, null, peer.toString());
        if (outcome === 'pending') this.#fetcher.brought(signed, peer.toString());
      }
    });
    this.#fetcher.poke();
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = () => {
      if (this.book.log.size >= held) resolve();
    };
    this.#events.on('held', look);
    look();
    await promise;
    this.#events.off('held', look);
  }

  async stop(): Promise<void> {
    await this.#fetcher.stop();
    await this.host.stop();
    await this.book.close();
  }
}

/** As a node signs it, with an id in every field that may have one. */
function headOf({ log }: RecordBook, charter: CID, key: SigningKey): Uint8Array {
  return encodeSignedHead(
    signHead(
      {
        version: 1,
        node: key.publicKey,
        charter,
        recipe: charter,
        sealed: null,
        ...frontierOf(log.heads()),
        accepted: log.size,
        held: log.size,
        checkpoint: charter,
        counter: Date.now(),
      },
      key,
    ),
  );
}
