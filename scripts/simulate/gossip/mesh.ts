import { SCORE_THRESHOLDS } from '../../../protocols/updates/gossip-options.ts';
import {
  D,
  D_HI,
  D_LO,
  D_OUT,
  D_SCORE,
  HEARTBEAT_MS,
  OPPORTUNISTIC_PEERS,
  OPPORTUNISTIC_TICKS,
  PRUNE_BACKOFF_MS,
} from './parameters.ts';
import type { PeerScores } from './peer-scores.ts';
import { shuffled } from './shuffle.ts';

/** Peers of one topic: who listens, and who of them are in the mesh. */
export class Mesh {
  readonly topic: string;
  readonly subscribers = new Set<string>();
  readonly peers = new Set<string>();
  /** Until when a peer that was pruned, or pruned this node, is not grafted. */
  readonly #backoff = new Map<string, number>();
  readonly #scores: PeerScores;
  readonly #now: () => number;
  readonly #dialled: (peer: string) => boolean;

  /** @param components.dialled - whether this node made the connection to a peer */
  constructor(
    topic: string,
    components: { scores: PeerScores; now: () => number; dialled: (peer: string) => boolean },
  ) {
    this.topic = topic;
    this.#scores = components.scores;
    this.#now = components.now;
    this.#dialled = components.dialled;
  }

  /** Those to send an own message to: the mesh, and others where it is small. */
  targets(): string[] {
    const others = shuffled([...this.subscribers].filter((peer) => !this.peers.has(peer) && this.#mayPublishTo(peer)));
    return [...this.peers, ...others.slice(0, Math.max(0, D - this.peers.size))];
  }

  /** A peer listens to the topic; true when it is in the mesh from now on, because there is much room. */
  subscribed(peer: string): boolean {
    this.subscribers.add(peer);
    const room = this.peers.size < D_LO && !this.peers.has(peer);
    if (!room || this.#isBad(peer) || this.#backsOff(peer, HEARTBEAT_MS)) return false;
    this.#add(peer);
    return true;
  }

  /** A peer wants to be in the mesh; false when it is to be told that it is not. */
  graft(peer: string): boolean {
    if (this.peers.has(peer)) return true;
    const full = this.peers.size >= D_HI && !this.#dialled(peer);
    if (this.#backsOff(peer, 0) || this.#isBad(peer) || full) {
      this.#backOff(peer);
      return false;
    }
    this.#add(peer);
    return true;
  }

  /** A peer has taken this node out of its mesh. */
  prune(peer: string): void {
    this.#remove(peer);
    this.#backOff(peer);
  }

  /** The peer is gone. */
  leave(peer: string): void {
    this.subscribers.delete(peer);
    this.#remove(peer);
  }

  /** Keeps the mesh in shape: whom to tell that they are in it now, and whom that they are not any more. */
  heartbeat(tick: number): { grafted: string[]; pruned: string[] } {
    const pruned = [...this.peers].filter((peer) => this.#isBad(peer));
    const before = new Set(this.peers);
    for (const peer of pruned) this.prune(peer);
    const candidates = shuffled([...this.subscribers]).filter(
      (peer) => !before.has(peer) && !this.#backsOff(peer, HEARTBEAT_MS) && !this.#isBad(peer),
    );
    const grafted: string[] = [];
    const take = (count: number, wanted: (peer: string) => boolean = () => true): void => {
      for (const peer of candidates.filter(wanted).slice(0, count)) {
        candidates.splice(candidates.indexOf(peer), 1);
        this.#add(peer);
        grafted.push(peer);
      }
    };
    if (this.peers.size < D_LO) take(D - this.peers.size);
    if (this.peers.size > D_HI) {
      for (const peer of this.#excess()) {
        this.prune(peer);
        pruned.push(peer);
      }
    }
    const outbound = [...this.peers].filter(this.#dialled).length;
    if (this.peers.size >= D_LO && outbound < D_OUT) take(D_OUT - outbound, this.#dialled);
    if (tick % OPPORTUNISTIC_TICKS === 0 && this.peers.size > 1) {
      const median = this.#medianScore();
      const better = (peer: string) => this.#scores.score(peer) > median;
      if (median < SCORE_THRESHOLDS.opportunisticGraftThreshold) take(OPPORTUNISTIC_PEERS, better);
    }
    return { grafted, pruned };
  }

  /** Mesh peers beyond those wanted: the best-scored stay, the others at random, and enough that this node dialled. */
  #excess(): string[] {
    const byScore = [...this.peers].sort((a, b) => this.#scores.score(b) - this.#scores.score(a));
    const order = [...byScore.slice(0, D_SCORE), ...shuffled(byScore.slice(D_SCORE))];
    const kept = order.slice(0, D);
    for (const peer of order.slice(D).filter(this.#dialled)) {
      if (kept.filter(this.#dialled).length >= D_OUT) break;
      kept.splice(
        kept.findLastIndex((other) => !this.#dialled(other)),
        1,
        peer,
      );
    }
    return order.filter((peer) => !kept.includes(peer));
  }

  #medianScore(): number {
    const scores = Array.from(this.peers, (peer) => this.#scores.score(peer)).sort((a, b) => a - b);
    return scores[Math.floor(scores.length / 2)]!;
  }

  #isBad(peer: string): boolean {
    return this.#scores.isDoubtful(peer) && this.#scores.score(peer) < 0;
  }

  #mayPublishTo(peer: string): boolean {
    return !this.#scores.isDoubtful(peer) || this.#scores.score(peer) >= SCORE_THRESHOLDS.publishThreshold;
  }

  #add(peer: string): void {
    this.peers.add(peer);
    this.#scores.grafted(peer, this.topic);
  }

  #remove(peer: string): void {
    if (this.peers.delete(peer)) this.#scores.pruned(peer, this.topic);
  }

  #backOff(peer: string): void {
    this.#backoff.set(peer, this.#now() + PRUNE_BACKOFF_MS);
  }

  #backsOff(peer: string, slackMs: number): boolean {
    const until = this.#backoff.get(peer);
    return until !== undefined && this.#now() < until + slackMs;
  }
}
