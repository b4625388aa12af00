import { TOPIC_SCORE } from '../../../protocols/updates/gossip-options.ts';

interface Stats {
  /** When the peer joined the mesh, in milliseconds; undefined outside it. */
  meshSince: number | undefined;
  first: number;
  invalid: number;
  /** Up to when the decaying counters are right. */
  at: number;
}

/**
 * Gossipsub's scores with this project's weights, as far as they are not zero: time in the mesh, first deliveries,
 * invalid messages. Penalties for behaviour and for shared addresses are left out: nothing here earns them.
 */
export class PeerScores {
  readonly #now: () => number;
  readonly #peers = new Map<string, Map<string, Stats>>();
  /** Peers that ever sent something invalid. */
  readonly #rejected = new Set<string>();

  constructor(components: { now: () => number }) {
    this.#now = components.now;
  }

  /** Whether the peer's score may be below zero: the others need not be asked for theirs. */
  isDoubtful(peer: string): boolean {
    return this.#rejected.has(peer);
  }

  score(peer: string): number {
    let score = 0;
    for (const topic of this.#peers.get(peer)?.keys() ?? []) {
      const { meshSince, first, invalid } = this.#stats(peer, topic);
      const quanta = meshSince === undefined ? 0 : (this.#now() - meshSince) / TOPIC_SCORE.timeInMeshQuantum;
      score += TOPIC_SCORE.timeInMeshWeight * Math.min(quanta, TOPIC_SCORE.timeInMeshCap);
      score += TOPIC_SCORE.firstMessageDeliveriesWeight * first;
      score += TOPIC_SCORE.invalidMessageDeliveriesWeight * invalid ** 2;
    }
    return score;
  }

  grafted(peer: string, topic: string): void {
    this.#stats(peer, topic).meshSince = this.#now();
  }

  pruned(peer: string, topic: string): void {
    this.#stats(peer, topic).meshSince = undefined;
  }

  delivered(peer: string, topic: string): void {
    const stats = this.#stats(peer, topic);
    stats.first = Math.min(stats.first + 1, TOPIC_SCORE.firstMessageDeliveriesCap);
  }

  rejected(peer: string, topic: string): void {
    this.#rejected.add(peer);
    this.#stats(peer, topic).invalid++;
  }

  #stats(peer: string, topic: string): Stats {
    const topics = this.#peers.get(peer) ?? new Map<string, Stats>();
    this.#peers.set(peer, topics);
    const now = this.#now();
    const stats = topics.get(topic) ?? { meshSince: undefined, first: 0, invalid: 0, at: now };
    topics.set(topic, stats);
    const seconds = (now - stats.at) / 1_000;
    stats.first *= TOPIC_SCORE.firstMessageDeliveriesDecay ** seconds;
    stats.invalid *= TOPIC_SCORE.invalidMessageDeliveriesDecay ** seconds;
    stats.at = now;
    return stats;
  }
}
