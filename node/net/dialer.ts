import type { Libp2p } from '@libp2p/interface';
import { parsePeerAddress } from '../../protocols/index.ts';
import type { Logger } from '../logger.ts';
import type { PeerBook } from './peer-book.ts';

/** Connections that the node tries to have; more come in when others dial. */
export const TARGET_CONNECTIONS = 8;
/** How often the node looks whom to dial, in milliseconds. */
export const DIAL_TICK_MS = 250;
/** Longest wait for one dial, in milliseconds. */
export const DIAL_TIMEOUT_MS = 10_000;
/** Dials under way at once. */
export const MAX_DIALS = 4;

/** Keeps the node connected: dials remembered peers with growing waits, for ever. */
export class Dialer {
  readonly #host: Libp2p;
  readonly #book: PeerBook;
  readonly #logger: Logger;
  readonly #stopping = new AbortController();
  readonly #dialling = new Map<string, Promise<void>>();
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
    await Promise.all(this.#dialling.values());
  }

  #tick(): void {
    const connected = new Set(this.#host.getPeers().map(String));
    const own = this.#host.peerId.toString();
    for (const peer of this.#book.due((id) => connected.has(id) || id === own || this.#dialling.has(id))) {
      if (connected.size + this.#dialling.size >= TARGET_CONNECTIONS || this.#dialling.size >= MAX_DIALS) return;
      const dial = this.#dial(peer.id, peer.addresses).finally(() => this.#dialling.delete(peer.id));
      this.#dialling.set(peer.id, dial);
    }
  }

  async #dial(id: string, addresses: readonly string[]): Promise<void> {
    const targets = addresses.flatMap((address) => parsePeerAddress(address)?.address ?? []);
    const signal = AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(DIAL_TIMEOUT_MS)]);
    try {
      await this.#host.dial(targets, { signal });
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      this.#book.failed(id);
      this.#logger.debug({ peer: id, err: error }, 'a peer could not be dialled; it will be tried again');
    }
  }
}
