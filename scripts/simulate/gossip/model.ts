import { type Message, type TopicValidatorFn, TopicValidatorResult } from '@libp2p/gossipsub';
import type { PeerId } from '@libp2p/interface';
import { IDONTWANT_MIN_BYTES } from '../../../protocols/updates/constants.ts';
import { messageId, SCORE_THRESHOLDS } from '../../../protocols/updates/gossip-options.ts';
import { Mesh } from './mesh.ts';
import { MessageCache } from './message-cache.ts';
import {
  D_LAZY,
  GOSSIP_FACTOR,
  HEARTBEAT_FIRST_MS,
  HEARTBEAT_MS,
  HISTORY_LENGTH,
  JUDGING_MS,
  SEEN_TTL_MS,
} from './parameters.ts';
import { PeerScores } from './peer-scores.ts';
import type { GossipMessage, Rpc } from './rpc.ts';
import { shuffled } from './shuffle.ts';

/** A peer that speaks gossip. */
interface GossipPeer {
  readonly id: PeerId;
  readonly dialled: boolean;
  /** Messages that it asked not to be sent, with the heartbeat in which it did. */
  readonly unwanted: Map<string, number>;
}

/**
 * A model of gossipsub 1.2 after the source of `@libp2p/gossipsub` 17: mesh and its upkeep, eager push inside it, offers
 * to others with every heartbeat, IDONTWANT, scores. It carries the messages of the daemon's own topics and asks their
 * validators, like the original; it leaves out peer exchange, fanout, direct peers and penalties for promises not kept.
 */
export class GossipModel extends EventTarget {
  readonly topicValidators = new Map<string, TopicValidatorFn>();
  readonly #now: () => number;
  readonly #send: (peer: PeerId, rpc: Rpc) => void;
  readonly #after: (milliseconds: number, run: () => void) => void;
  readonly #scores: PeerScores;
  readonly #peers = new Map<string, GossipPeer>();
  readonly #meshes = new Map<string, Mesh>();
  readonly #cache = new MessageCache();
  readonly #seen = new Map<string, number>();
  #tick = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(components: {
    now: () => number;
    send: (peer: PeerId, rpc: Rpc) => void;
    /** Runs something after that many milliseconds. */
    after: (milliseconds: number, run: () => void) => void;
  }) {
    super();
    this.#after = components.after;
    this.#now = components.now;
    this.#send = components.send;
    this.#scores = new PeerScores(components);
  }

  start(): void {
    const beat = () => {
      this.#heartbeat();
      this.#timer = setTimeout(beat, HEARTBEAT_MS);
    };
    this.#timer = setTimeout(beat, HEARTBEAT_FIRST_MS);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  subscribe(topic: string): void {
    if (this.#meshes.has(topic)) return;
    const dialled = (peer: string) => this.#peers.get(peer)?.dialled === true;
    this.#meshes.set(topic, new Mesh(topic, { scores: this.#scores, now: this.#now, dialled }));
    for (const { id } of this.#peers.values()) this.#send(id, { subscribe: [topic] });
  }

  unsubscribe(topic: string): void {
    if (!this.#meshes.delete(topic)) return;
    for (const { id } of this.#peers.values()) this.#send(id, { unsubscribe: [topic] });
  }

  getSubscribers(topic: string): PeerId[] {
    return Array.from(this.#meshes.get(topic)?.subscribers ?? [], (peer) => this.#peers.get(peer)!.id);
  }

  /** @param only - peers that may get it from here; all when left out. An honest node never says. */
  async publish(
    topic: string,
    data: Uint8Array,
    only: (peer: PeerId) => boolean = () => true,
  ): Promise<{ recipients: PeerId[] }> {
    const id = Buffer.from(messageId({ topic, data })).toString('base64');
    if (this.#seen.has(id)) return { recipients: [] };
    const message = { id, topic, data };
    this.#seen.set(id, this.#now());
    this.#cache.put(message);
    const targets = (this.#meshes.get(topic)?.targets() ?? []).map((peer) => this.#peers.get(peer)!.id);
    const recipients = targets.filter(only);
    for (const peer of recipients) this.#send(peer, { messages: [message] });
    return { recipients };
  }

  /** Peers in the mesh of a topic. */
  meshSize(topic: string): number {
    return this.#meshes.get(topic)?.peers.size ?? 0;
  }

  addPeer(id: PeerId, dialled: boolean): void {
    this.#peers.set(id.toString(), { id, dialled, unwanted: new Map() });
    if (this.#meshes.size > 0) this.#send(id, { subscribe: [...this.#meshes.keys()] });
  }

  removePeer(id: PeerId): void {
    const key = id.toString();
    this.#peers.delete(key);
    for (const mesh of this.#meshes.values()) mesh.leave(key);
  }

  /** Takes what a peer has sent. */
  receive(from: PeerId, rpc: Rpc): void {
    const key = from.toString();
    const peer = this.#peers.get(key);
    const score = this.#scores.isDoubtful(key) ? this.#scores.score(key) : 0;
    if (peer === undefined || score < SCORE_THRESHOLDS.graylistThreshold) return;
    const joined = (rpc.subscribe ?? []).filter((topic) => this.#meshes.get(topic)?.subscribed(key) === true);
    if (joined.length > 0) this.#send(from, { graft: joined });
    for (const topic of rpc.unsubscribe ?? []) this.#meshes.get(topic)?.leave(key);
    for (const message of rpc.messages ?? []) void this.#take(peer, message);
    const mayGossip = score >= SCORE_THRESHOLDS.gossipThreshold;
    const wanted = mayGossip
      ? (rpc.ihave ?? []).flatMap(({ topic, ids }) =>
          this.#meshes.has(topic) ? ids.filter((id) => !this.#seen.has(id)) : [],
        )
      : [];
    const messages = (mayGossip ? (rpc.iwant ?? []) : []).flatMap((id) =>
      peer.unwanted.has(id) ? [] : (this.#cache.give(id, key) ?? []),
    );
    const refused = (rpc.graft ?? []).filter((topic) => this.#meshes.get(topic)?.graft(key) === false);
    for (const topic of rpc.prune ?? []) this.#meshes.get(topic)?.prune(key);
    for (const id of rpc.idontwant ?? []) peer.unwanted.set(id, this.#tick);
    if (wanted.length + messages.length + refused.length === 0) return;
    this.#send(from, {
      ...(messages.length > 0 && { messages }),
      ...(wanted.length > 0 && { iwant: shuffled(wanted) }),
      ...(refused.length > 0 && { prune: refused }),
    });
  }

  async #take(from: GossipPeer, message: GossipMessage): Promise<void> {
    const { id, topic, data } = message;
    if (this.#seen.has(id)) return;
    this.#seen.set(id, this.#now());
    const mesh = this.#meshes.get(topic);
    const source = from.id.toString();
    if (data.length >= IDONTWANT_MIN_BYTES) this.#tellUnwanted(mesh, source, id);
    // The clock knows whole milliseconds: rounded at random, the mean is right.
    const judging = Math.floor(JUDGING_MS + Math.random());
    if (judging > 0) await new Promise<void>((resolve) => this.#after(judging, resolve));
    // An object of its own for every node, as a decoder makes it.
    const msg: Message = { type: 'unsigned', topic, data };
    const verdict = await this.topicValidators.get(topic)?.(from.id, msg);
    if (verdict !== TopicValidatorResult.Accept) {
      if (verdict === TopicValidatorResult.Reject) this.#scores.rejected(source, topic);
      return;
    }
    this.#cache.put(message);
    this.#scores.delivered(source, topic);
    this.dispatchEvent(
      new CustomEvent('gossipsub:message', { detail: { propagationSource: from.id, msgId: id, msg } }),
    );
    for (const peer of mesh?.peers ?? []) {
      const target = this.#peers.get(peer);
      if (target === undefined || peer === source || target.unwanted.has(id)) continue;
      this.#send(target.id, { messages: [message] });
    }
  }

  #tellUnwanted(mesh: Mesh | undefined, source: string, id: string): void {
    for (const peer of mesh?.peers ?? []) {
      if (peer !== source) this.#send(this.#peers.get(peer)!.id, { idontwant: [id] });
    }
  }

  #heartbeat(): void {
    this.#tick++;
    this.#forget();
    const rpcs = new Map<string, { ihave: { topic: string; ids: string[] }[]; graft: string[]; prune: string[] }>();
    const rpcTo = (peer: string) => {
      const rpc = rpcs.get(peer) ?? { ihave: [], graft: [], prune: [] };
      rpcs.set(peer, rpc);
      return rpc;
    };
    for (const [topic, mesh] of this.#meshes) {
      const { grafted, pruned } = mesh.heartbeat(this.#tick);
      for (const peer of grafted) rpcTo(peer).graft.push(topic);
      for (const peer of pruned) rpcTo(peer).prune.push(topic);
      const ids = this.#cache.offered(topic);
      if (ids.length > 0) for (const peer of this.#lazy(mesh)) rpcTo(peer).ihave.push({ topic, ids: shuffled(ids) });
    }
    for (const [peer, rpc] of rpcs) this.#send(this.#peers.get(peer)!.id, rpc);
    this.#cache.shift();
  }

  /** The peers outside the mesh that are told of messages now. */
  #lazy(mesh: Mesh): string[] {
    const others = [...mesh.subscribers].filter(
      (peer) =>
        !mesh.peers.has(peer) &&
        (!this.#scores.isDoubtful(peer) || this.#scores.score(peer) >= SCORE_THRESHOLDS.gossipThreshold),
    );
    return shuffled(others).slice(0, Math.max(D_LAZY, Math.floor(GOSSIP_FACTOR * others.length)));
  }

  #forget(): void {
    const now = this.#now();
    for (const [id, at] of this.#seen) {
      if (at + SEEN_TTL_MS > now) break;
      this.#seen.delete(id);
    }
    for (const { unwanted } of this.#peers.values()) {
      for (const [id, tick] of unwanted) if (this.#tick - tick >= HISTORY_LENGTH) unwanted.delete(id);
    }
  }
}
