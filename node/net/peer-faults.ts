import type { PeerId } from '@libp2p/interface';
import type { ProtocolError, ProtocolErrorCode } from '../../protocols/index.ts';

/** Peers whose faults are remembered at most: more than a node has connections. */
export const MAX_REMEMBERED_FAULTS = 1_024;
/** Milliseconds after which half of a fault is forgiven. */
export const FAULT_HALF_LIFE_MS = 600_000;

/** No fault: the peer does not have it (yet), or has much to do. */
const HARMLESS: ReadonlySet<string> = new Set<ProtocolErrorCode>(['NOT_FOUND', 'RATE_LIMITED', 'BUSY']);

/** Which peers failed to serve what they were asked for, so that they are asked last. Nobody is shut out. */
export class PeerFaults {
  readonly #now: () => number;
  readonly #faults = new Map<string, { weight: number; at: number }>();

  constructor(components: { now?: () => number } = {}) {
    this.#now = components.now ?? (() => performance.now());
  }

  note(peer: PeerId, error: ProtocolError): void {
    if (HARMLESS.has(error.code)) return;
    const key = peer.toString();
    const weight = this.weight(peer) + 1;
    this.#faults.delete(key);
    this.#faults.set(key, { weight, at: this.#now() });
    if (this.#faults.size > MAX_REMEMBERED_FAULTS) this.#faults.delete(this.#faults.keys().next().value!);
  }

  /** Faults of a peer, with those of the past counting less. */
  weight(peer: PeerId): number {
    const fault = this.#faults.get(peer.toString());
    return fault === undefined ? 0 : fault.weight * 0.5 ** ((this.#now() - fault.at) / FAULT_HALF_LIFE_MS);
  }

  /**
   * The peers in the order to ask them: those with fewer faults first, `likely` before its equals, else at random, so
   * that no peer can count on its place.
   */
  order(peers: readonly PeerId[], likely?: string): PeerId[] {
    return peers
      .map((peer) => ({
        peer,
        // Whole faults: a little forgiveness does not decide between two peers.
        faults: Math.round(this.weight(peer)),
        turn: peer.toString() === likely ? -1 : Math.random(),
      }))
      .sort((a, b) => a.faults - b.faults || a.turn - b.turn)
      .map(({ peer }) => peer);
  }
}
