import {
  type GossipSub,
  type GossipsubMessage,
  type Message,
  type TopicValidatorFn,
  TopicValidatorResult,
} from '@libp2p/gossipsub';
import type { ComponentLogger, Logger, PeerId, Startable } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import { BoundedQueue, type BoundedQueueLimits } from '../bounded-queue.ts';
import { asError } from '../channel.ts';
import { ProtocolError } from '../errors.ts';
import { DELIVERY_QUEUE, MAX_HEAD_MESSAGE_BYTES, MAX_SEAL_MESSAGE_BYTES, VALIDATION_QUEUE } from './constants.ts';
import { decodeUpdate, encodeUpdate, headsTopic, sealsTopic, type UpdateMessage, updatesTopic } from './schema.ts';

/**
 * What a validator decides: `accept` relays and delivers, `ignore` does neither, `reject` also costs the sender its
 * score. Reject only what is provably invalid: an honest peer would never have relayed it.
 */
export type Verdict = 'accept' | 'ignore' | 'reject';

export interface TopicsInit {
  readonly gossip: GossipSub;
  readonly logger: ComponentLogger;
  /** Id of the community's first charter. */
  readonly community: CID;
  /** Judges a well-formed update message: structure, signature, validity. An error it throws means `ignore`. */
  readonly judgeUpdate: (message: UpdateMessage, from: PeerId) => Verdict | Promise<Verdict>;
  /** Judges an encoded signed head. An error it throws means `ignore`. */
  readonly judgeHead: (head: Uint8Array, from: PeerId) => Verdict | Promise<Verdict>;
  /** Judges an encoded signed seal. An error it throws means `ignore`. */
  readonly judgeSeal: (seal: Uint8Array, from: PeerId) => Verdict | Promise<Verdict>;
  /** Gets every accepted update, one at a time; what an overfull queue drops comes again by sync. */
  readonly onUpdate: (message: UpdateMessage, from: PeerId) => void | Promise<void>;
  /** Gets every accepted head, one at a time. */
  readonly onHead: (head: Uint8Array, from: PeerId) => void | Promise<void>;
  /** Gets every accepted seal, one at a time. */
  readonly onSeal: (seal: Uint8Array, from: PeerId) => void | Promise<void>;
  readonly validation?: BoundedQueueLimits;
  readonly delivery?: BoundedQueueLimits;
}

export interface Published {
  /** Peers that the message was sent to directly. 0 is no failure: sync hands it on. */
  readonly recipients: number;
  /** Bytes of the message. */
  readonly bytes: number;
}

export interface Topics extends Startable {
  /** Drops what waits; when it returns, nothing more is judged or delivered. */
  stop(): Promise<void>;
  readonly updates: string;
  readonly heads: string;
  readonly seals: string;
  /** @throws ProtocolError `TOO_LARGE`, `MALFORMED` */
  publishUpdate(message: UpdateMessage): Promise<Published>;
  /** @throws ProtocolError `TOO_LARGE` */
  publishHead(head: Uint8Array): Promise<Published>;
  /** @throws ProtocolError `TOO_LARGE` */
  publishSeal(seal: Uint8Array): Promise<Published>;
  /** Peers that listen to the updates topic. */
  subscribers(): PeerId[];
  /** Messages dropped by the bounded queues since the start. */
  dropped(): { validation: number; delivery: number };
}

/** Registers the community's topics on a gossipsub service that was made with `gossipOptions`. */
export function createTopics(init: TopicsInit): Topics {
  return new CommunityTopics(init);
}

/** A node's gossip score for a peer; undefined when the service does not tell. */
export function peerScore(gossip: GossipSub, peer: PeerId): number | undefined {
  // The implementation has the method, its published interface does not.
  const service: GossipSub & { getScore?: (peer: string) => unknown } = gossip;
  const score = service.getScore?.(peer.toString());
  return typeof score === 'number' ? score : undefined;
}

class CommunityTopics implements Topics {
  readonly updates: string;
  readonly heads: string;
  readonly seals: string;
  readonly #init: TopicsInit;
  readonly #log: Logger;
  readonly #validation: BoundedQueue;
  readonly #delivery: BoundedQueue;
  /** Decoded form of messages between validation and delivery; gossipsub passes the same object to both. */
  readonly #decoded = new WeakMap<Message, UpdateMessage>();

  constructor(init: TopicsInit) {
    this.#init = init;
    this.#log = init.logger.forComponent('kinmerge:updates');
    this.updates = updatesTopic(init.community);
    this.heads = headsTopic(init.community);
    this.seals = sealsTopic(init.community);
    this.#validation = new BoundedQueue(init.validation ?? VALIDATION_QUEUE);
    this.#delivery = new BoundedQueue(init.delivery ?? DELIVERY_QUEUE);
  }

  start(): void {
    const { gossip } = this.#init;
    gossip.topicValidators.set(this.updates, this.#validateUpdate);
    gossip.topicValidators.set(this.heads, this.#validateHead);
    gossip.topicValidators.set(this.seals, this.#validateSeal);
    gossip.addEventListener('gossipsub:message', this.#onMessage);
    gossip.subscribe(this.updates);
    gossip.subscribe(this.heads);
    gossip.subscribe(this.seals);
  }

  async stop(): Promise<void> {
    const { gossip } = this.#init;
    gossip.removeEventListener('gossipsub:message', this.#onMessage);
    for (const topic of [this.updates, this.heads, this.seals]) {
      gossip.unsubscribe(topic);
      gossip.topicValidators.delete(topic);
    }
    await Promise.all([this.#validation.close(), this.#delivery.close()]);
  }

  async publishUpdate(message: UpdateMessage): Promise<Published> {
    return this.#publish(this.updates, encodeUpdate(message));
  }

  async publishHead(head: Uint8Array): Promise<Published> {
    checkMessage('head', head, MAX_HEAD_MESSAGE_BYTES);
    return this.#publish(this.heads, head);
  }

  async publishSeal(seal: Uint8Array): Promise<Published> {
    checkMessage('seal', seal, MAX_SEAL_MESSAGE_BYTES);
    return this.#publish(this.seals, seal);
  }

  subscribers(): PeerId[] {
    return this.#init.gossip.getSubscribers(this.updates);
  }

  dropped(): { validation: number; delivery: number } {
    return { validation: this.#validation.dropped, delivery: this.#delivery.dropped };
  }

  async #publish(topic: string, data: Uint8Array): Promise<Published> {
    const { recipients } = await this.#init.gossip.publish(topic, data);
    return { recipients: recipients.length, bytes: data.length };
  }

  #validateUpdate: TopicValidatorFn = (from, message) => {
    return this.#validate(from, message, () => {
      const update = decodeUpdate(message.data);
      this.#decoded.set(message, update);
      return this.#init.judgeUpdate(update, from);
    });
  };

  #validateHead: TopicValidatorFn = (from, message) => {
    return this.#validate(from, message, () => {
      checkMessage('head', message.data, MAX_HEAD_MESSAGE_BYTES);
      return this.#init.judgeHead(new Uint8Array(message.data), from);
    });
  };

  #validateSeal: TopicValidatorFn = (from, message) => {
    return this.#validate(from, message, () => {
      checkMessage('seal', message.data, MAX_SEAL_MESSAGE_BYTES);
      return this.#init.judgeSeal(new Uint8Array(message.data), from);
    });
  };

  async #validate(
    from: PeerId,
    message: Message,
    judge: () => Verdict | Promise<Verdict>,
  ): Promise<TopicValidatorResult> {
    const verdict = this.#validation.run(from.toString(), message.data.length, async (): Promise<Verdict> => {
      try {
        return await judge();
      } catch (error) {
        // A message that is not one is provably invalid. Everything else is this node's own trouble, and rejecting for
        // that would make it cut off good peers.
        const malformed = error instanceof ProtocolError && (error.code === 'MALFORMED' || error.code === 'TOO_LARGE');
        this.#log('%s a message from %p - %e', malformed ? 'rejecting' : 'ignoring', from, asError(error));
        return malformed ? 'reject' : 'ignore';
      }
    });
    if (verdict === undefined) this.#log('validation queue is full: ignoring a message from %p', from);
    return RESULTS[(await verdict) ?? 'ignore'];
  }

  #onMessage = (event: CustomEvent<GossipsubMessage>): void => {
    const { msg, propagationSource: from } = event.detail;
    const { onUpdate, onHead, onSeal } = this.#init;
    const update = this.#decoded.get(msg);
    let deliver: (() => void | Promise<void>) | undefined;
    if (msg.topic === this.updates && update !== undefined) deliver = () => onUpdate(update, from);
    else if (msg.topic === this.heads) deliver = () => onHead(new Uint8Array(msg.data), from);
    else if (msg.topic === this.seals) deliver = () => onSeal(new Uint8Array(msg.data), from);
    if (deliver === undefined) return;
    const handle = deliver;
    const delivered = this.#delivery.run(from.toString(), msg.data.length, async () => {
      try {
        await handle();
      } catch (error) {
        this.#log.error('handling an accepted message failed - %e', asError(error));
      }
    });
    if (delivered === undefined) this.#log.error('delivery queue is full: dropping a message from %p', from);
  };
}

/** @throws ProtocolError `TOO_LARGE` */
function checkMessage(what: string, bytes: Uint8Array, limit: number): void {
  if (bytes.length > 0 && bytes.length <= limit) return;
  throw new ProtocolError('TOO_LARGE', `A ${what} has 1 to ${limit} bytes.`, { bytes: bytes.length, limit });
}

const RESULTS: Readonly<Record<Verdict, TopicValidatorResult>> = {
  accept: TopicValidatorResult.Accept,
  ignore: TopicValidatorResult.Ignore,
  reject: TopicValidatorResult.Reject,
};
