import type { PeerId } from '@libp2p/interface';
import { kindOfTopic, type Rpc } from './gossip/rpc.ts';

/** Sees what gossip brings to each node. */
export interface GossipObserver {
  /** What was seen before does not count. */
  begin(): void;
  received(node: PeerId, from: PeerId, rpc: Rpc, bytes: number): void;
}

/** What gossip did in a network, in numbers that real nodes and the model have in common. */
export interface GossipNumbers {
  /** Copies of a message that a node received, on the topics of updates and of heads. */
  readonly updateCopies: number;
  readonly headCopies: number;
  /** Heads that were gossiped for an update. */
  readonly headsPerUpdate: number;
  /** Per node and update: ids of unwanted, offered and wanted messages. */
  readonly idontwant: number;
  readonly ihave: number;
  readonly iwant: number;
  /** Gossip bytes that a node received for an update, of updates and their control messages, and in all. */
  readonly bytes: number;
  /** Steps from the author until a node had an update first: mean and most. */
  readonly hops: number;
  readonly maxHops: number;
  /** Share of the nodes that had an update by gossip. */
  readonly reached: number;
}

interface Seen {
  readonly kind: string;
  /** Whoever sent the first copy. */
  readonly author: string;
  copies: number;
  /** Who had the message first from whom. */
  readonly first: Map<string, string>;
}

export class GossipObservation implements GossipObserver {
  readonly #messages = new Map<string, Seen>();
  readonly #before = new Set<string>();
  #counts = { idontwant: 0, ihave: 0, iwant: 0, bytes: 0 };

  begin(): void {
    for (const id of this.#messages.keys()) this.#before.add(id);
    this.#messages.clear();
    this.#counts = { idontwant: 0, ihave: 0, iwant: 0, bytes: 0 };
  }

  received(node: PeerId, from: PeerId, rpc: Rpc, bytes: number): void {
    const counts = this.#counts;
    counts.bytes += bytes;
    counts.idontwant += rpc.idontwant?.length ?? 0;
    counts.iwant += rpc.iwant?.length ?? 0;
    for (const { topic, ids } of rpc.ihave ?? []) if (kindOfTopic(topic) === 'updates') counts.ihave += ids.length;
    for (const { id, topic } of rpc.messages ?? []) {
      if (this.#before.has(id)) continue;
      const fresh = { kind: kindOfTopic(topic), author: from.toString(), copies: 0, first: new Map<string, string>() };
      const seen = this.#messages.get(id) ?? fresh;
      this.#messages.set(id, seen);
      seen.copies++;
      const name = node.toString();
      if (name !== seen.author && !seen.first.has(name)) seen.first.set(name, from.toString());
    }
  }

  /** @param nodes - of the network; @param updates - contributed since `begin` */
  numbers(nodes: number, updates: number): GossipNumbers {
    const seen = [...this.#messages.values()];
    const of = (kind: string) => seen.filter((message) => message.kind === kind);
    const copies = (kind: string) => mean(of(kind).map((message) => message.copies / nodes));
    const hops = of('updates').flatMap((message) => Array.from(message.first.keys(), (node) => hopsTo(message, node)));
    const { idontwant, ihave, iwant, bytes } = this.#counts;
    const per = (count: number) => count / (nodes * updates);
    return {
      updateCopies: copies('updates'),
      headCopies: copies('heads'),
      headsPerUpdate: of('heads').length / updates,
      idontwant: per(idontwant),
      ihave: per(ihave),
      iwant: per(iwant),
      bytes: per(bytes),
      hops: mean(hops),
      maxHops: Math.max(0, ...hops),
      reached: mean(of('updates').map(({ first }) => first.size / (nodes - 1))),
    };
  }
}

/** Steps on the way by which a node had a message first. */
function hopsTo({ first }: Seen, node: string): number {
  let hops = 0;
  for (let at = first.get(node); at !== undefined; at = first.get(at)) hops++;
  return hops;
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}
