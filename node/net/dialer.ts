import type { Libp2p } from '@libp2p/interface';
import { peerIdFromString } from '@libp2p/peer-id';
import { parsePeerAddress } from '../../protocols/index.ts';
import type { Logger } from '../logger.ts';
import type { PeerBook, RememberedPeer } from './peer-book.ts';

/**
 * Connections that the node makes by its own choice. Those that come in do not count: anybody can make as many as he
 * likes, and they must not keep the node from its own.
 */
export const TARGET_CONNECTIONS = 8;
/** How often the node looks whom to dial, in milliseconds. */
export const DIAL_TICK_MS = 250;
/** Longest wait for one dial, in milliseconds. */
export const DIAL_TIMEOUT_MS = 10_000;
/** Dials under way at once. */
export const MAX_DIALS = 4;
/** Peers under way at once that are dialled only to see whether they are where they say. */
export const MAX_PROBES = 2;

/** Keeps the node connected: dials remembered peers with growing waits, for ever. */
export class Dialer {
  readonly #host: Libp2p;
  readonly #book: PeerBook;
  readonly #logger: Logger;
  readonly #stopping = new AbortController();
  readonly #dialling = new Map<string, Promise<void>>();
  readonly #probing = new Map<string, Promise<void>>();
  /** Connected peers that this node dialled by its own choice. */
  readonly #chosen = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(components: { host: Libp2p; book: PeerBook; logger: Logger }) {
    this.#host = components.host;
    this.#book = components.book;
    this.#logger = components.logger;
  }

  start(): void {
    this.#timer = setInterval(() => this.#tick(), DIAL_TICK_MS);
    this.#tick();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    clearInterval(this.#timer);
    await Promise.all([...this.#dialling.values(), ...this.#probing.values()]);
  }

  /** Whether the node is connected to this peer by its own choice, not the peer's. */
  isChosen(id: string): boolean {
    return this.#chosen.has(id) || this.#book.get(id)?.bootstrap === true;
  }

  /** The peer is none of the community: a place for a connection is free again, unless the operator wants it so. */
  useless(id: string): void {
    this.#book.failed(id);
    if (!this.#chosen.delete(id) || this.#book.get(id)?.bootstrap === true) return;
    this.#host.hangUp(peerIdFromString(id)).catch((error: unknown) => {
      this.#logger.debug({ peer: id, err: error }, 'a connection could not be closed');
    });
  }

  #tick(): void {
    const connected = new Set(this.#host.getPeers().map(String));
    for (const id of this.#chosen) if (!connected.has(id)) this.#chosen.delete(id);
    const own = this.#host.peerId.toString();
    const isBusy = (id: string) => connected.has(id) || id === own || this.#dialling.has(id);
    for (const peer of this.#book.due(isBusy)) {
      if (this.#dialling.size >= MAX_DIALS) break;
      const full = this.#chosen.size + this.#dialling.size >= TARGET_CONNECTIONS;
      if (full && !peer.bootstrap) continue;
      this.#run(this.#dialling, peer, () => this.#connect(peer));
    }
    for (const peer of this.#book.unproven((id) => connected.has(id) && !this.#probing.has(id))) {
      if (this.#probing.size >= MAX_PROBES) break;
      this.#run(this.#probing, peer, () => this.#probe(peer));
    }
  }

  #run(running: Map<string, Promise<void>>, { id }: RememberedPeer, work: () => Promise<void>): void {
    const done = work()
      .catch((error: unknown) => {
        if (this.#stopping.signal.aborted) return;
        this.#book.failed(id);
        this.#logger.debug({ peer: id, err: error }, 'a peer could not be dialled; it will be tried again');
      })
      .finally(() => running.delete(id));
    running.set(id, done);
  }

  async #connect(peer: RememberedPeer): Promise<void> {
    await this.#dial(peer, false);
    this.#chosen.add(peer.id);
    this.#book.reached(peer.id);
  }

  /** Dials a peer that is connected already, because it dialled: only an address that answers is passed on. */
  async #probe(peer: RememberedPeer): Promise<void> {
    const connection = await this.#dial(peer, true);
    this.#book.reached(peer.id);
    await connection.close();
  }

  #dial({ addresses }: RememberedPeer, force: boolean) {
    const targets = addresses.flatMap((address) => parsePeerAddress(address)?.address ?? []);
    const signal = AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(DIAL_TIMEOUT_MS)]);
    return this.#host.dial(targets, { signal, force });
  }
}
