import type { Libp2p, PeerId } from '@libp2p/interface';
import { describe, expect, test } from 'vitest';
import {
  createTopics,
  encodeUpdate,
  type HostServices,
  MAX_INLINE_PAYLOAD_BYTES,
  peerScore,
  SCORE_THRESHOLDS,
  type Topics,
  type TopicsInit,
  type UpdateMessage,
} from '../../../protocols/index.ts';
import { MAX_SIGNED_RECORD_BYTES } from '../../../src/log/index.ts';
import { COMMUNITY, connect, eventually, failure, noise, startNode } from './support.ts';

interface Member {
  readonly node: Libp2p<HostServices>;
  readonly topics: Topics;
  readonly updates: UpdateMessage[];
  readonly heads: Uint8Array[];
}

async function member(changes: Partial<TopicsInit> = {}): Promise<Member> {
  const node = await startNode({});
  const updates: UpdateMessage[] = [];
  const heads: Uint8Array[] = [];
  const topics = createTopics({
    gossip: node.services.gossip,
    logger: node.logger,
    community: COMMUNITY,
    judgeUpdate: () => 'accept',
    judgeHead: () => 'accept',
    judgeSeal: () => 'accept',
    onUpdate: (message) => {
      updates.push(message);
    },
    onHead: (head) => {
      heads.push(head);
    },
    onSeal: () => {},
    ...changes,
  });
  await topics.start();
  return { node, topics, updates, heads };
}

async function join(from: Member, to: Member): Promise<PeerId> {
  const peer = await connect(from.node, to.node);
  const both = () => {
    expect(from.topics.subscribers().some((id) => id.equals(to.node.peerId))).toBe(true);
    expect(to.topics.subscribers().some((id) => id.equals(from.node.peerId))).toBe(true);
  };
  await eventually(both);
  return peer;
}

const update = (n: number): UpdateMessage => ({ record: noise(300, n), payload: noise(1_000, n) });
const scoreOf = (at: Member, of: Member) => peerScore(at.node.services.gossip, of.node.peerId) ?? Number.NaN;

describe('the updates topic', () => {
  test('an accepted update reaches a node two hops away, once, with the largest inline payload', async () => {
    const [a, b, c] = await Promise.all([member(), member(), member()]);
    await join(a, b);
    await join(b, c);
    const large = { record: noise(4_000), payload: noise(MAX_INLINE_PAYLOAD_BYTES) };
    const sent = await a.topics.publishUpdate(large);
    expect(sent.recipients).toBe(1);
    await eventually(() => {
      expect(b.updates).toHaveLength(1);
      expect(c.updates).toHaveLength(1);
    });
    expect(Buffer.compare(c.updates[0]!.payload!, large.payload)).toBe(0);
    expect(a.updates).toHaveLength(0);
  });

  test('an announcement carries no payload', async () => {
    const [a, b] = await Promise.all([member(), member()]);
    await join(a, b);
    await a.topics.publishUpdate({ record: noise(300), payload: null });
    await eventually(() => expect(b.updates).toHaveLength(1));
    expect(b.updates[0]!.payload).toBeNull();
  });

  test('a record sent first with another payload does not suppress the good message', async () => {
    const [a, b] = await Promise.all([member(), member()]);
    await join(a, b);
    const record = noise(300);
    await a.topics.publishUpdate({ record, payload: noise(50, 1) });
    await a.topics.publishUpdate({ record, payload: noise(50, 2) });
    await eventually(() => expect(b.updates).toHaveLength(2));
  });

  test('publishing alone succeeds with no recipient, and publishing twice is no error', async () => {
    const a = await member();
    expect((await a.topics.publishUpdate(update(1))).recipients).toBe(0);
    expect((await a.topics.publishUpdate(update(1))).recipients).toBe(0);
  });

  test('a message above its limit is not sent', async () => {
    const a = await member();
    const large = { record: noise(300), payload: noise(MAX_INLINE_PAYLOAD_BYTES + 1) };
    expect((await failure(a.topics.publishUpdate(large))).code).toBe('TOO_LARGE');
    const long = { record: noise(MAX_SIGNED_RECORD_BYTES + 1), payload: null };
    expect((await failure(a.topics.publishUpdate(long))).code).toBe('TOO_LARGE');
  });

  test('what the judge ignores is neither delivered nor relayed, and costs the sender nothing', async () => {
    const [a, c] = await Promise.all([member(), member()]);
    let judged = 0;
    const b = await member({
      judgeUpdate: () => {
        judged++;
        return 'ignore';
      },
    });
    await join(a, b);
    await join(b, c);
    await a.topics.publishUpdate(update(1));
    await eventually(() => expect(judged).toBe(1));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect([b.updates.length, c.updates.length]).toEqual([0, 0]);
    expect(scoreOf(b, a)).toBeGreaterThanOrEqual(0);
  });

  test('an unexpected error of the judge ignores the message, and costs the sender nothing', async () => {
    let judged = 0;
    const a = await member();
    const b = await member({
      judgeUpdate: () => {
        judged++;
        throw new TypeError('a bug');
      },
    });
    await join(a, b);
    for (let i = 0; i < 5; i++) await a.topics.publishUpdate(update(i));
    await eventually(() => expect(judged).toBe(5));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(b.updates).toHaveLength(0);
    expect(scoreOf(b, a)).toBeGreaterThanOrEqual(0);
  });

  test('each reject costs score, and three end the conversation', async () => {
    let judged = 0;
    const a = await member();
    const b = await member({
      judgeUpdate: () => {
        judged++;
        return 'reject';
      },
    });
    await join(a, b);
    await a.topics.publishUpdate(update(1));
    await eventually(() => expect(scoreOf(b, a)).toBeLessThan(SCORE_THRESHOLDS.gossipThreshold));
    await a.topics.publishUpdate(update(2));
    await eventually(() => expect(scoreOf(b, a)).toBeLessThan(SCORE_THRESHOLDS.publishThreshold));
    await a.topics.publishUpdate(update(3));
    await eventually(() => expect(scoreOf(b, a)).toBeLessThan(SCORE_THRESHOLDS.graylistThreshold));
    expect(judged).toBe(3);
    expect(b.updates).toHaveLength(0);
  });

  test('bytes that are no update message are rejected before the judge sees them', async () => {
    let judged = 0;
    const a = await member();
    const b = await member({
      judgeUpdate: () => {
        judged++;
        return 'accept';
      },
    });
    await join(a, b);
    const good = encodeUpdate(update(1));
    const longer = new Uint8Array(good.length + 1);
    longer.set(good);
    await a.node.services.gossip.publish(b.topics.updates, longer);
    await eventually(() => expect(scoreOf(b, a)).toBeLessThan(0));
    expect(judged).toBe(0);
  });

  test('what does not fit into the validation queue is ignored, and the rest goes through', async () => {
    const gate = Promise.withResolvers<void>();
    const a = await member();
    const b = await member({
      judgeUpdate: () => gate.promise.then((): 'accept' => 'accept'),
      validation: { concurrency: 1, maxEntries: 3, maxBytes: 1_000_000, maxEntriesPerPeer: 3 },
    });
    await join(a, b);
    for (let i = 0; i < 8; i++) await a.topics.publishUpdate(update(i));
    await eventually(() => expect(b.topics.dropped().validation).toBe(5));
    gate.resolve();
    await eventually(() => expect(b.updates).toHaveLength(3));
    expect(scoreOf(b, a)).toBeGreaterThanOrEqual(0);
  });

  test('an error of the handler does not stop the next delivery', async () => {
    let handled = 0;
    const a = await member();
    const b = await member({
      onUpdate: () => {
        handled++;
        throw new Error('disk full');
      },
    });
    await join(a, b);
    await a.topics.publishUpdate(update(1));
    await a.topics.publishUpdate(update(2));
    await eventually(() => expect(handled).toBe(2));
  });

  test('a topic of another community is not carried', async () => {
    const [a, b] = await Promise.all([member(), member()]);
    await join(a, b);
    a.node.services.gossip.subscribe('/kinmerge/1/elsewhere/updates');
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(b.node.services.gossip.getSubscribers('/kinmerge/1/elsewhere/updates')).toHaveLength(0);
  });
});

describe('the heads topic', () => {
  test('a head reaches the others as it is', async () => {
    const [a, b] = await Promise.all([member(), member()]);
    await join(a, b);
    await a.topics.publishHead(noise(200));
    await eventually(() => expect(b.heads).toEqual([noise(200)]));
    expect(b.updates).toHaveLength(0);
  });

  test('an oversized head is not published by us, and rejected from others', async () => {
    const [a, b] = await Promise.all([member(), member()]);
    await join(a, b);
    expect((await failure(a.topics.publishHead(noise(5_000)))).code).toBe('TOO_LARGE');
    await a.node.services.gossip.publish(b.topics.heads, noise(5_000));
    await eventually(() => expect(scoreOf(b, a)).toBeLessThan(0));
    expect(b.heads).toHaveLength(0);
  });
});

describe('the end', () => {
  test('drops what waits for delivery, and waits for what is under way', async () => {
    const gate = Promise.withResolvers<void>();
    const begun: number[] = [];
    let ended = 0;
    const a = await member();
    const b = await member({
      onUpdate: async ({ record }) => {
        begun.push(record.length);
        await gate.promise;
        ended++;
      },
    });
    await join(a, b);
    for (let n = 0; n < 5; n++) await a.topics.publishUpdate(update(n));
    await eventually(() => expect(begun).toHaveLength(1));
    await new Promise((resolve) => setTimeout(resolve, 200));
    let stopped = false;
    const stopping = b.topics.stop().then(() => {
      stopped = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(stopped).toBe(false);
    gate.resolve();
    await stopping;
    expect(ended).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(begun).toHaveLength(1);
  });
});
