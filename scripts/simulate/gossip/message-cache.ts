import { HISTORY_GOSSIP, HISTORY_LENGTH, RETRANSMISSIONS } from './parameters.ts';
import type { GossipMessage } from './rpc.ts';

/** The messages of the last heartbeats: what is offered to peers outside the mesh, and given to those that ask. */
export class MessageCache {
  readonly #messages = new Map<string, { readonly message: GossipMessage; readonly asked: Map<string, number> }>();
  #history: string[][] = Array.from({ length: HISTORY_LENGTH }, () => []);

  put(message: GossipMessage): void {
    if (this.#messages.has(message.id)) return;
    this.#messages.set(message.id, { message, asked: new Map() });
    this.#history[0]!.push(message.id);
  }

  /** For a peer that asked; undefined when it is gone, or was asked for too often. */
  give(id: string, peer: string): GossipMessage | undefined {
    const entry = this.#messages.get(id);
    if (entry === undefined) return undefined;
    const times = (entry.asked.get(peer) ?? 0) + 1;
    entry.asked.set(peer, times);
    return times > RETRANSMISSIONS ? undefined : entry.message;
  }

  /** Ids of a topic's messages that are worth offering. */
  offered(topic: string): string[] {
    return this.#history
      .slice(0, HISTORY_GOSSIP)
      .flat()
      .filter((id) => this.#messages.get(id)?.message.topic === topic);
  }

  /** A heartbeat has passed. */
  shift(): void {
    for (const id of this.#history.at(-1)!) this.#messages.delete(id);
    this.#history = [[], ...this.#history.slice(0, -1)];
  }
}
