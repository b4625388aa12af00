import { generateKeyPair } from '@libp2p/crypto/keys';
import { type TopicValidatorFn, TopicValidatorResult } from '@libp2p/gossipsub';
import type { PeerId } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { IDONTWANT_MIN_BYTES } from '../../../protocols/updates/constants.ts';
import { GossipModel } from '../../../scripts/simulate/gossip/model.ts';
import { D_HI, HEARTBEAT_MS } from '../../../scripts/simulate/gossip/parameters.ts';
import type { Rpc } from '../../../scripts/simulate/gossip/rpc.ts';

const TOPIC = '/kinmerge/1/community/updates';
const ACCEPT: TopicValidatorFn = () => TopicValidatorResult.Accept;

interface Member {
  readonly id: PeerId;
  readonly gossip: GossipModel;
  readonly got: Uint8Array[];
}

/** Nodes that are all connected, over links without delay; `sent` has everything that they tell each other. */
async function crowd(count: number, lost: (rpc: Rpc) => boolean = () => false) {
  const members = new Map<string, Member>();
  const sent: { from: string; to: string; rpc: Rpc }[] = [];
  for (let i = 0; i < count; i++) {
    const id = peerIdFromPrivateKey(await generateKeyPair('Ed25519'));
    const got: Uint8Array[] = [];
    const gossip = new GossipModel({
      now: () => performance.now(),
      after: (milliseconds, run) => setTimeout(run, milliseconds),
      send: (to, rpc) => {
        sent.push({ from: id.toString(), to: to.toString(), rpc });
        if (!lost(rpc)) setTimeout(() => members.get(to.toString())!.gossip.receive(id, rpc), 1);
      },
    });
    gossip.topicValidators.set(TOPIC, ACCEPT);
    gossip.addEventListener('gossipsub:message', (event) => got.push((event as CustomEvent).detail.msg.data));
    gossip.subscribe(TOPIC);
    gossip.start();
    members.set(id.toString(), { id, gossip, got });
  }
  const all = [...members.values()];
  for (const [place, one] of all.entries()) {
    for (const other of all.slice(place + 1)) {
      one.gossip.addPeer(other.id, true);
      other.gossip.addPeer(one.id, false);
    }
  }
  await vi.advanceTimersByTimeAsync(5 * HEARTBEAT_MS);
  return { all, sent };
}

describe('the model of gossip', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test('brings a message to every node once, by a mesh of bounded size', async () => {
    const { all, sent } = await crowd(30);
    for (const { gossip } of all) {
      expect(gossip.meshSize(TOPIC)).toBeGreaterThanOrEqual(4);
      expect(gossip.meshSize(TOPIC)).toBeLessThanOrEqual(D_HI);
    }
    sent.length = 0;
    await all[0]!.gossip.publish(TOPIC, new Uint8Array([1]));
    await vi.advanceTimersByTimeAsync(HEARTBEAT_MS);
    expect(all.slice(1).map(({ got }) => got.length)).toEqual(Array(29).fill(1));
    expect(all[0]!.got).toEqual([]);
    const copies = sent.reduce((count, { rpc }) => count + (rpc.messages?.length ?? 0), 0);
    expect(copies / 30).toBeLessThan(D_HI);
  });

  test('offers to others what the mesh did not bring, and gives it to those that ask', async () => {
    let broken = false;
    const { all, sent } = await crowd(20, (rpc) => broken && rpc.messages !== undefined);
    broken = true;
    await all[0]!.gossip.publish(TOPIC, new Uint8Array([2]));
    await vi.advanceTimersByTimeAsync(10);
    broken = false;
    await vi.advanceTimersByTimeAsync(4 * HEARTBEAT_MS);
    expect(sent.some(({ rpc }) => (rpc.iwant?.length ?? 0) > 0)).toBe(true);
    expect(all.slice(1).every(({ got }) => got.length === 1)).toBe(true);
  });

  test('tells the mesh not to send a large message again, and a small one without words', async () => {
    const { all, sent } = await crowd(15);
    const told = () => sent.filter(({ rpc }) => rpc.idontwant !== undefined).length;
    await all[0]!.gossip.publish(TOPIC, new Uint8Array(IDONTWANT_MIN_BYTES - 1));
    await vi.advanceTimersByTimeAsync(100);
    expect(told()).toBe(0);
    await all[0]!.gossip.publish(TOPIC, new Uint8Array(IDONTWANT_MIN_BYTES));
    await vi.advanceTimersByTimeAsync(100);
    expect(told()).toBeGreaterThan(14);
  });

  test('relays nothing that a validator rejects, and stops listening to who goes on', async () => {
    const { all } = await crowd(3);
    const [bad, good, other] = all as [Member, Member, Member];
    let judged = 0;
    good.gossip.topicValidators.set(TOPIC, () => {
      judged++;
      return TopicValidatorResult.Reject;
    });
    for (let n = 0; n < 6; n++) {
      await bad.gossip.publish(TOPIC, new Uint8Array([3, n]), (peer) => peer.equals(good.id));
      await vi.advanceTimersByTimeAsync(10);
    }
    expect(judged).toBe(3);
    expect(other.got).toEqual([]);
  });
});
