/** A payload comes in although the link that it comes over freezes: nothing is lost or reset, no byte passes any more. */
import { expect, onTestFinished, test } from 'vitest';
import { PROGRESS_TIMEOUT_MS } from '../../protocols/limits.ts';
import { freePort } from '../e2e/support/network.ts';
import { BadLink } from '../support/bad-link.ts';
import { contributePayload } from '../support/contribute.ts';
import { eventually, makePond, type Pond, payloadOf } from '../unit/node/support.ts';
import { startNode, type TestNode } from './support.ts';

const TEST_MS = 90_000;
/** The payload of 300 KiB takes three seconds. */
const BYTES_PER_SECOND = 100_000;
/** More than everything that comes before the payload. */
const IN_THE_MIDDLE = 100_000;

interface Giver {
  readonly node: TestNode;
  readonly link: BadLink;
}

/** A node behind a slow link. */
async function giver(pond: Pond, peers: readonly TestNode[] = []): Promise<Giver> {
  const target = await freePort();
  const link = await BadLink.open({ target, behaviour: { bytesPerSecond: BYTES_PER_SECOND } });
  const network = { listen: [`/ip4/127.0.0.1/tcp/${target}`], announce: [link.address] };
  const node = await startNode(pond, { peers, network });
  onTestFinished(() => link.close());
  return { node, link };
}

/** A node that listens nowhere: whatever it gets comes over the links that it dials. */
const taker = (pond: Pond, givers: readonly Giver[]) =>
  startNode(pond, { peers: givers.map(({ node }) => node), network: { listen: [] } });

/** Two that hold an update with a large payload. */
async function twoGivers() {
  const pond = await makePond({ tensors: [{ name: 'a.weight', shape: [1_800, 1_000] }] });
  const first = await giver(pond);
  const second = await giver(pond, [first.node]);
  const payload = payloadOf(pond, 1, { density: 0.4 });
  const { signed } = await contributePayload(first.node, payload, 'large');
  const isHeld = ({ community }: TestNode) => expect(community.book.log.state(signed.id)).toBe('held');
  await eventually(() => isHeld(second.node), 30_000);
  return { pond, first, second, payload, isHeld };
}

/** Freezes the first of the links that has carried a part of the payload; returns that. */
async function freezeOne(givers: readonly Giver[]): Promise<Giver> {
  const before = givers.map(({ link }) => link.counts.bytes);
  const busy = () => givers.find(({ link }, i) => link.counts.bytes - before[i]! > IN_THE_MIDDLE);
  await eventually(() => expect(busy()).toBeDefined(), 30_000);
  busy()!.link.cut();
  return busy()!;
}

test('another peer is asked for what a frozen one owes', { timeout: TEST_MS }, async () => {
  const { pond, first, second, payload, isHeld } = await twoGivers();
  const freezing = freezeOne([first, second]);
  const node = await taker(pond, [first, second]);
  const frozen = await freezing;
  const other = frozen === first ? second : first;
  const before = other.link.counts.bytes;
  // Long before the frozen peer is given up.
  await eventually(() => isHeld(node), PROGRESS_TIMEOUT_MS - 2_000);
  expect(other.link.counts.bytes - before).toBeGreaterThanOrEqual(payload.length);
  expect(node.network.connected()).toContain(frozen.node.network.peerId);
});

test('another peer that comes later is asked when the only one has frozen', { timeout: TEST_MS }, async () => {
  const { pond, first, second, payload, isHeld } = await twoGivers();
  second.link.cut();
  const freezing = freezeOne([first]);
  const node = await taker(pond, [first]);
  await freezing;
  second.link.heal();
  const before = second.link.counts.bytes;
  node.network.book.learn(second.node.network.peerId, second.node.network.addresses(), 'configured');
  // The fetch under way knows the frozen peer alone: it ends without progress, and the next one asks whoever is there.
  await eventually(() => isHeld(node), 2 * PROGRESS_TIMEOUT_MS);
  expect(second.link.counts.bytes - before).toBeGreaterThanOrEqual(payload.length);
});
