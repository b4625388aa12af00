import type { ComponentLogger, PeerId } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import type { HostServices, Topics, Verdict } from '../../protocols/index.ts';
import { createTopics } from '../../protocols/index.ts';
import type { SignedRecord, SignedSeal } from '../../src/log/index.ts';
import {
  decodeSigned,
  decodeSignedHead,
  decodeSignedSeal,
  encodeSigned,
  encodeSignedSeal,
} from '../../src/log/index.ts';
import { Serial } from '../core/serial.ts';
import type { Logger } from '../logger.ts';
import { Turns } from '../turns.ts';
import { Follower } from './follower.ts';
import { judgeSeal, judgeUpdate } from './gossip-judge.ts';
import type { Heads } from './heads.ts';
import type { NetworkBook } from './network-book.ts';

export interface GossipListener {
  /** A record waits for what it needs. */
  onWaiting(signed: SignedRecord, from: PeerId): void;
  /** The peer passed something on that builds on what is not here. */
  onBehind(peer: PeerId): void;
}

/** What travels by gossip: judges, relays and takes updates, heads and seals, and publishes the own ones. */
export class Gossip {
  readonly #book: NetworkBook;
  readonly #heads: Heads;
  readonly #listener: GossipListener;
  readonly #logger: Logger;
  readonly #topics: Topics;
  readonly #follower: Follower;
  // Messages come in bursts as large as a read buffer, and each costs a signature check: one after another, in turns
  // with the rest of the node.
  readonly #turns = new Turns();
  readonly #judging = new Serial();

  constructor(
    options: { charterId: CID },
    components: {
      host: { readonly logger: ComponentLogger; readonly services: Pick<HostServices, 'gossip'> };
      book: NetworkBook;
      heads: Heads;
      listener: GossipListener;
      logger: Logger;
    },
  ) {
    const { host, book, heads, listener } = components;
    this.#book = book;
    this.#heads = heads;
    this.#listener = listener;
    this.#logger = components.logger;
    this.#follower = new Follower((peer) => listener.onBehind(peer));
    this.#topics = createTopics({
      gossip: host.services.gossip,
      logger: host.logger,
      community: options.charterId,
      judgeUpdate: (message, from) =>
        this.#inTurn(() => judgeUpdate(book, message, from, (signed, peer) => this.#takeUnknown(signed, peer))),
      onUpdate: (message, from) => this.#take(decodeSigned(message.record), message.payload, from),
      judgeHead: (head, from) => this.#inTurn(() => this.#heads.judge(head, from.toString())),
      onHead: (head, from) => this.#followHead(head, from),
      judgeSeal: (seal, from) => this.#inTurn(() => judgeSeal(book, seal, () => listener.onBehind(from))),
      onSeal: async (seal) => {
        await book.takeSeal(decodeSignedSeal(seal));
      },
    });
  }

  start(): void {
    this.#topics.start();
  }

  async stop(): Promise<void> {
    this.#follower.stop();
    await this.#topics.stop();
  }

  /** Gossips an own update that is already durable. Nobody listening is no failure: sync hands it on. */
  async publishUpdate(signed: SignedRecord, inline: Uint8Array | null): Promise<void> {
    await this.#publish('update', () => this.#topics.publishUpdate({ record: encodeSigned(signed), payload: inline }));
  }

  /** Gossips an own seal that is already durable. */
  async publishSeal(signed: SignedSeal): Promise<void> {
    await this.#publish('seal', () => this.#topics.publishSeal(encodeSignedSeal(signed)));
  }

  /** Gossips the own head, as it travels. */
  async publishHead(head: Uint8Array): Promise<void> {
    await this.#publish('head', () => this.#topics.publishHead(head));
  }

  async #publish(what: string, send: () => Promise<unknown>): Promise<void> {
    try {
      await send();
    } catch (error) {
      this.#logger.debug({ err: error }, `gossip did not take the ${what}; peers will find it by sync`);
    }
  }

  #inTurn(judge: () => Verdict | Promise<Verdict>): Promise<Verdict> {
    return this.#judging.run(async () => {
      await this.#turns.next();
      return judge();
    });
  }

  async #take(signed: SignedRecord, payload: Uint8Array | null, from: PeerId): Promise<void> {
    const { outcome } = await this.#book.take(signed, payload, from.toString());
    if (outcome === 'pending') this.#listener.onWaiting(signed, from);
  }

  /** Keeps a record whose author's chain is not here, and asks for the chain. */
  #takeUnknown(signed: SignedRecord, from: PeerId): void {
    this.#take(signed, null, from).catch((error: unknown) => {
      this.#logger.error({ err: error }, 'a record could not be stored; it will come again by sync');
    });
    this.#listener.onBehind(from);
  }

  /** A head that names records or a seal that this node lacks means that gossip lost something: ask who passed it on. */
  #followHead(bytes: Uint8Array, from: PeerId): void {
    const { log } = this.#book;
    const { head } = decodeSignedHead(bytes);
    const lacksSeal = head.sealed !== null && !log.seals.has(head.sealed.seal);
    if (lacksSeal || head.frontier.some((id) => log.state(id) === 'unknown')) this.#follower.hint(from);
  }
}
