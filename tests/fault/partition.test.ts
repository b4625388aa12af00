/**
 * Ten nodes in two halves that do not reach each other for a while, and both go on. Real nodes and connections; between
 * any two lies a link that can be cut, and counts everything: encryption, gossip, sync, heartbeats.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { MAX_INLINE_PAYLOAD_BYTES } from '../../protocols/index.ts';
import { freePort } from '../e2e/support/network.ts';
import { BadLink } from '../support/bad-link.ts';
import { type Contributed, contributePayload } from '../support/contribute.ts';
import { Diallers } from '../support/dialler.ts';
import { Traffic } from '../support/traffic.ts';
import { eventually, makePond, type Pond, payloadOf } from '../unit/node/support.ts';
import { startNode, type TestNode } from './support.ts';

const TEST_MS = 300_000;
const NODES = 10;
/** Updates that each half contributes during the cut. */
const UPDATES = 20;
/** One in so many is too large to travel inside its announcement. */
const LARGE_EVERY = 5;
/** 1.8 million elements: a payload has 35 to 108 KiB at densities from 2 to 8 %, and 300 KiB at 40 %. */
const TENSORS = [
  { name: 'a.weight', shape: [1_000, 800] },
  { name: 'b.weight', shape: [1_000, 1_000] },
] as const;
/** What may flow at most, over what had to. */
const MAX_RATIO = 1.5;
/** The network counts as quiet when so long, in milliseconds, nothing was new; what flows meanwhile counts, too. */
const QUIET_MS = 3_000;
/** Longest wait for ten nodes in one thread to reach a state, in milliseconds. */
const PATIENCE_MS = 90_000;

interface Scene {
  readonly pond: Pond;
  readonly nodes: readonly TestNode[];
  readonly setCut: (cut: boolean) => void;
  /** Begins to count; what it returns says what flowed since: all bytes, and a line for each use of them. */
  readonly count: () => () => { readonly bytes: number; readonly uses: readonly string[] };
}

const half = (node: number) => node % 2;
const sum = (values: Iterable<number>) => [...values].reduce((total, value) => total + value, 0);

/** Ten nodes that all know the first, and each other only through links. */
async function tenNodes(): Promise<Scene> {
  const pond = await makePond({ tensors: TENSORS });
  const traffic = new Traffic();
  const diallers = new Diallers<number>();
  onTestFinished(() => diallers.close());
  let isCut = false;
  const nodes: TestNode[] = [];
  const links: BadLink[] = [];
  for (let i = 0; i < NODES; i++) {
    const target = await freePort();
    const link = await BadLink.open({ target, passes: (port) => !isCut || half(diallers.at(port)) === half(i) });
    const network = { listen: [`/ip4/127.0.0.1/tcp/${target}`], announce: [link.address], metrics: traffic };
    nodes.push(await diallers.as(i, () => startNode(pond, { peers: nodes.slice(0, 1), network })));
    onTestFinished(() => link.close());
    links.push(link);
  }
  const setCut = (cut: boolean) => {
    isCut = cut;
    for (const link of links) link.wake();
  };
  const passed = () => sum(links.map(({ counts }) => counts.bytes));
  const count = () => {
    const start = { bytes: passed(), sent: traffic.sent() };
    return () => {
      const bytes = passed() - start.bytes;
      const sent = [...traffic.sent()].map(([use, total]) => ({ use, bytes: total - (start.sent.get(use) ?? 0) }));
      const rest = bytes - sum(sent.map((one) => one.bytes));
      const all = [...sent, { use: 'encryption, multiplexing, negotiation', bytes: rest }];
      return { bytes, uses: all.sort((a, b) => b.bytes - a.bytes).map((one) => `${one.bytes} ${one.use}`) };
    };
  };
  return { pond, nodes, setCut, count };
}

/** Every node has some peers in each half; or all of its own, and only those. */
function expectPeers({ nodes }: Scene, { cut }: { cut: boolean }): void {
  const places = new Map(nodes.map(({ network }, i) => [network.peerId, i]));
  for (const [i, { network }] of nodes.entries()) {
    const mine = network.connected().filter((id) => half(places.get(id)!) === half(i)).length;
    const others = network.connected().length - mine;
    if (cut) expect([mine, others]).toEqual([NODES / 2 - 1, 0]);
    else expect(Math.min(mine, others)).toBeGreaterThanOrEqual(2);
  }
}

function contribute({ pond, nodes }: Scene, seed: number): Promise<Contributed> {
  const large = Math.floor(seed / 2) % LARGE_EVERY === 0;
  const payload = payloadOf(pond, seed, { density: large ? 0.4 : 0.02 + 0.01 * (seed % 7) });
  expect(payload.length > MAX_INLINE_PAYLOAD_BYTES).toBe(large);
  return contributePayload(nodes[seed % NODES]!, payload, `update ${seed}`);
}

async function untilHeld({ nodes }: Scene, updates: number): Promise<void> {
  await eventually(() => {
    expect(nodes.map(({ community }) => community.book.log.size)).toEqual(nodes.map(() => updates));
  }, PATIENCE_MS);
}

test('two halves that went on alone become one, for hardly more bytes than they lacked', {
  timeout: TEST_MS,
}, async () => {
  const scene = await tenNodes();
  const { nodes } = scene;
  await eventually(() => expectPeers(scene, { cut: false }), PATIENCE_MS);
  scene.setCut(true);
  await eventually(() => expectPeers(scene, { cut: true }), PATIENCE_MS);
  const updates: Contributed[] = [];
  for (let i = 0; i < 2 * UPDATES; i++) updates.push(await contribute(scene, i));
  await untilHeld(scene, UPDATES);
  const lacked = sum(
    nodes.flatMap(({ community: { book } }) =>
      updates.map(({ signed, bytes }) => (book.log.state(signed.id) === 'held' ? 0 : bytes)),
    ),
  );
  expect(lacked).toBe((NODES / 2) * sum(updates.map(({ bytes }) => bytes)));

  const counted = scene.count();
  const healed = performance.now();
  scene.setCut(false);
  await untilHeld(scene, 2 * UPDATES);
  const seconds = ((performance.now() - healed) / 1_000).toFixed(1);
  const views = await Promise.all(nodes.map(({ community }) => community.settled()));
  await sleep(QUIET_MS);
  const { bytes, uses } = counted();
  const told = `${bytes} bytes flowed for ${lacked} that were lacked, in ${seconds} s\n${uses.join('\n')}`;
  process.stderr.write(`${told}\n`);

  expect(new Set(views.map(({ recipeId }) => recipeId.toString())).size).toBe(1);
  expect(views[0]!.accepted).toHaveLength(2 * UPDATES);
  expect(bytes / lacked, told).toBeLessThanOrEqual(MAX_RATIO);
});
