/**
 * The protocol is its bytes: a peer built from the libp2p 2 line, with `@chainsafe/libp2p-gossipsub` 14.1.2 and
 * `it-pipe`, takes part in a community with ours.
 */
import { createHash } from 'node:crypto';
import { decode, encode } from '@ipld/dag-cbor';
import type { Libp2p } from '@libp2p/interface';
import * as lp from 'it-length-prefixed';
import { pipe } from 'it-pipe';
import { describe, expect, test } from 'vitest';
import {
  BLOCKS_PROTOCOL,
  type BlockSource,
  blocks,
  createTopics,
  decodeUpdate,
  encodeUpdate,
  type HostServices,
  type Topics,
  type UpdateMessage,
  updatesTopic,
} from '../../protocols/index.ts';
import { decodeSigned, encodeSigned, manifestOf, type SignedRecord } from '../../src/log/index.ts';
import { follow, testKey } from '../unit/log/helpers.ts';
import { COMMUNITY, eventually, noise, onCleanup, startNode } from './protocols/support.ts';

/** What these tests use of a libp2p 2 node. Its own types do not compile beside those of libp2p 3. */
interface OldNode {
  readonly peerId: { toString(): string };
  readonly services: { readonly pubsub: OldGossip };
  getMultiaddrs(): { toString(): string }[];
  dialProtocol(peer: unknown, protocol: string): Promise<OldStream>;
  getPeers(): { toString(): string }[];
  stop(): Promise<void>;
}
interface OldGossip {
  subscribe(topic: string): void;
  publish(topic: string, data: Uint8Array): Promise<{ recipients: unknown[] }>;
  getSubscribers(topic: string): unknown[];
  addEventListener(type: 'message', listener: (event: { detail: { topic: string; data: Uint8Array } }) => void): void;
}
/** In libp2p 2 a stream is a duplex of `it-pipe`. */
interface OldStream {
  source: AsyncIterable<Uint8Array>;
  sink(source: AsyncIterable<Uint8Array>): Promise<void>;
  close(): Promise<void>;
}
type Factory = (options?: object) => unknown;

async function load<T>(name: string): Promise<T> {
  return import(name);
}

async function startOldNode(): Promise<OldNode> {
  const { createLibp2p } = await load<{ createLibp2p(options: object): Promise<OldNode> }>('libp2p-v2');
  const { tcp } = await load<{ tcp: Factory }>('libp2p-v2-tcp');
  const { identify } = await load<{ identify: Factory }>('libp2p-v2-identify');
  const { noise: encrypter } = await load<{ noise: Factory }>('@chainsafe/libp2p-noise');
  const { yamux } = await load<{ yamux: Factory }>('@chainsafe/libp2p-yamux');
  const { gossipsub } = await load<{ gossipsub: Factory }>('@chainsafe/libp2p-gossipsub');
  const messageId = ({ topic, data }: { topic: string; data: Uint8Array }): Uint8Array => {
    const name = Buffer.from(topic, 'utf8');
    const length = Buffer.alloc(4);
    length.writeUInt32BE(name.length);
    return createHash('sha256').update(length).update(name).update(data).digest();
  };
  const node = await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [encrypter()],
    streamMuxers: [yamux()],
    services: {
      identify: identify(),
      pubsub: gossipsub({ globalSignaturePolicy: 'StrictNoSign', msgIdFn: messageId, fallbackToFloodsub: false }),
    },
  });
  onCleanup(() => node.stop());
  return node;
}

interface OurNode {
  readonly node: Libp2p<HostServices>;
  readonly topics: Topics;
  readonly updates: UpdateMessage[];
}

async function startOurNode(source: BlockSource): Promise<OurNode> {
  const node = await startNode({ blocks: blocks({ source }) });
  const updates: UpdateMessage[] = [];
  const topics = createTopics({
    gossip: node.services.gossip,
    logger: node.logger,
    community: COMMUNITY,
    judgeUpdate: ({ record }) => (decodeSigned(record).record.charter.equals(COMMUNITY) ? 'accept' : 'reject'),
    judgeHead: () => 'ignore',
    judgeSeal: () => 'ignore',
    onUpdate: (message) => {
      updates.push(message);
    },
    onHead: () => {},
    onSeal: () => {},
  });
  await topics.start();
  onCleanup(() => topics.stop());
  return { node, topics, updates };
}

async function updateWith(author: number, payload: Uint8Array): Promise<{ signed: SignedRecord; id: string }> {
  const { id } = await manifestOf(payload);
  const signed = follow(testKey(author), COMMUNITY, null, [], { payload: id });
  return { signed, id: id.toString() };
}

describe('a peer on libp2p 2 with the gossipsub of that line', () => {
  test('exchanges an update both ways, and pulls a payload block with it-pipe', async () => {
    const payload = noise(200_000, 7);
    const large = noise(300_000, 8);
    const made = await manifestOf(large);
    const ours = await startOurNode({
      object: async (id) => (id.equals(made.id) ? made.bytes : undefined),
      block: async (id) => (id.equals(made.id) ? large : undefined),
    });
    const old = await startOldNode();
    const topic = updatesTopic(COMMUNITY);
    const received: Uint8Array[] = [];
    old.services.pubsub.addEventListener('message', ({ detail }) => {
      if (detail.topic === topic) received.push(detail.data);
    });
    old.services.pubsub.subscribe(topic);

    const address = old.getMultiaddrs()[0]!.toString();
    const { multiaddr } = await import('@multiformats/multiaddr');
    await ours.node.dial(multiaddr(address));
    await eventually(() => {
      expect(ours.topics.subscribers().map(String)).toContain(old.peerId.toString());
      expect(old.services.pubsub.getSubscribers(topic).map(String)).toContain(ours.node.peerId.toString());
    });

    // Ours to theirs.
    const mine = await updateWith(1, payload);
    const sent = await ours.topics.publishUpdate({ record: encodeSigned(mine.signed), payload });
    expect(sent.recipients).toBe(1);
    await eventually(() => expect(received).toHaveLength(1));
    const got = decodeUpdate(received[0]!);
    expect(decodeSigned(got.record).id.toString()).toBe(mine.signed.id.toString());
    expect((await manifestOf(got.payload!)).id.toString()).toBe(mine.id);

    // Theirs to ours.
    const theirs = await updateWith(2, payload);
    await old.services.pubsub.publish(topic, encodeUpdate({ record: encodeSigned(theirs.signed), payload }));
    await eventually(() => expect(ours.updates).toHaveLength(1));
    const [update] = ours.updates;
    expect(decodeSigned(update!.record).id.toString()).toBe(theirs.signed.id.toString());
    expect(Buffer.compare(update!.payload!, payload)).toBe(0);

    // A payload that is too large for gossip: theirs pulls the block.
    const peer = old.getPeers().find((id) => id.toString() === ours.node.peerId.toString());
    const stream = await old.dialProtocol(peer, BLOCKS_PROTOCOL);
    const answers: Uint8Array[] = [];
    await pipe(
      [
        encode({ kind: 'object', id: made.id, offset: 0 }),
        encode({ kind: 'block', manifest: made.id, index: 0 }),
        encode({ kind: 'block', manifest: made.id, index: 1 }),
      ],
      (source) => lp.encode(source),
      (source) => asArrays(source),
      stream,
      (source) => lp.decode(source),
      async (source) => {
        for await (const message of source) answers.push(message.subarray());
      },
    );
    const parts = answers.map((answer) => {
      const start = 3 + answer[1]! * 256 + answer[2]!;
      return { head: decode(answer.subarray(3, start)), content: answer.subarray(start) };
    });
    expect(parts[0]?.head).toEqual({ status: 'object', size: made.bytes.length });
    expect(parts[1]?.head).toEqual({ status: 'block' });
    expect(Buffer.compare(parts[1]!.content, large)).toBe(0);
  });
});

async function* asArrays(
  source: Iterable<{ subarray(): Uint8Array }> | AsyncIterable<{ subarray(): Uint8Array }>,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) yield chunk.subarray();
}
