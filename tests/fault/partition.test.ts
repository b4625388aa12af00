/**
 * Ten nodes in two halves that do not reach each other for a while, and both go on. Real nodes and connections; between
 * any two lies a link that can be cut, and counts everything: encryption, gossip, sync, heartbeats.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { MAX_INLINE_PAYLOAD_BYTES } from '../../protocols/index.ts';
import { encodeSigned, manifestOf, type SignedRecord, signRecord } from '../../src/log/index.ts';
import { freePort } from '../e2e/support/network.ts';
import { BadLink } from '../support/bad-link.ts';
import { Diallers } from '../support/dialler.ts';
import { Traffic } from '../support/traffic.ts';
import { eventually, makePond, type Pond, payloadOf } from '../unit/node/support.ts';
import { startNode, type TestNode } from './support.ts';

const TEST_MS = 300_000;
const NODES = 10;
/** Updates that each half contributes during the cut. */
const UPDATES = 20;
/** How many of them are too large to travel inside their announcement. */
const LARGE = 4;
/** Elements of the model: a payload has 30 to 100 KiB at densities from 2 to 8 %, and 280 at 40 %. */
const TENSORS = [
  { name: 'a.weight', shape: [1_000, 800] },
  { name: 'b.weight', shape: [1_000, 1_000] },
] as const;
/** What may flow at most, over what had to. */
const MAX_RATIO = 1.5;
/** Without anything new for so long, in milliseconds, the network counts as quiet; this is counted, too. */
const QUIET_MS = 3_000;

interface Update {
  readonly signed: SignedRecord;
  /** Of record and payload. */
  readonly bytes: number;
}

interface Scene {
  readonly pond: Pond;
  readonly nodes: readonly TestNode[];
  readonly links: readonly BadLink[];
  readonly traffic: Traffic;
  readonly setCut: (cut: boolean) => void;
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
    // After the nodes: what ends first runs last.
    onTestFinished(() => link.close());
    links.push(link);
  }
  const setCut = (cut: boolean) => {
    isCut = cut;
    for (const link of links) link.wake();
  };
  return { pond, nodes, links, traffic, setCut };
}

/** Contributes as the daemon does, but for the encoding. */
async function contribute({ pond }: Scene, { community, network }: TestNode, seed: number): Promise<Update> {
  const large = seed % (UPDATES / LARGE) === 0;
  const payload = payloadOf(pond, seed, { density: large ? 0.4 : 0.02 + (0.06 * (seed % 7)) / 6 });
  expect(payload.length > MAX_INLINE_PAYLOAD_BYTES).toBe(large);
  const manifest = await manifestOf(payload);
  const file = join(community.options.home.tmp, `payload-${seed}`);
  await writeFile(file, payload);
  const { author, book } = community;
  await book.reserve(manifest, file);
  const signed = await book.publish(author.publicKey, manifest, (link) =>
    signRecord(
      {
        version: 1,
        kind: 'update',
        author: author.publicKey,
        charter: pond.charterId,
        ...link,
        payload: manifest.id,
        title: `update ${seed}`,
        license: '',
        note: '',
      },
      author,
    ),
  );
  await book.release(manifest.id);
  await network.publish(signed, large ? null : payload);
  return { signed, bytes: encodeSigned(signed).length + payload.length };
}

function expectPeers({ nodes }: Scene, peers: (node: number) => number): void {
  for (const [i, { network }] of nodes.entries()) expect(network.connected(), `node ${i}`).toHaveLength(peers(i));
}

test('two halves that went on alone become one, for hardly more bytes than they lacked', {
  timeout: TEST_MS,
}, async () => {
  const scene = await tenNodes();
  const { nodes, links, traffic } = scene;
  await eventually(() => expectPeers(scene, () => NODES - 1), 60_000);

  const started = performance.now();
  const say = (what: string) =>
    process.stderr.write(`${((performance.now() - started) / 1000).toFixed(1)} s ${what}\n`);
  scene.setCut(true);
  await eventually(() => expectPeers(scene, () => NODES / 2 - 1), 60_000);
  say('cut');
  const updates: Update[] = [];
  for (let i = 0; i < 2 * UPDATES; i++) updates.push(await contribute(scene, nodes[i % NODES]!, i));
  say('contributed');
  await eventually(() => {
    for (const { community } of nodes) expect(community.book.log.size).toBe(UPDATES);
  }, 60_000);
  say('each half has its own');
  const lacked = sum(
    nodes.flatMap(({ community: { book } }) =>
      updates.map(({ signed, bytes }) => (book.log.state(signed.id) === 'held' ? 0 : bytes)),
    ),
  );
  expect(lacked).toBe((NODES / 2) * sum(updates.map(({ bytes }) => bytes)));

  const before = { bytes: sum(links.map((link) => link.counts.bytes)), sent: traffic.sent() };
  scene.setCut(false);
  await eventually(() => {
    for (const { community } of nodes) expect(community.book.log.size).toBe(2 * UPDATES);
  }, 90_000);
  say('healed');
  const recipes = await Promise.all(
    nodes.map(async ({ community }) => (await community.settled()).recipeId.toString()),
  );
  say('settled');
  await sleep(QUIET_MS);
  const flowed = sum(links.map((link) => link.counts.bytes)) - before.bytes;
  const parts = [...traffic.sent()]
    .map(([protocol, bytes]) => ({ protocol, bytes: bytes - (before.sent.get(protocol) ?? 0) }))
    .sort((a, b) => b.bytes - a.bytes);
  const told = [
    `${flowed} bytes flowed, ${lacked} were lacked: ratio ${(flowed / lacked).toFixed(3)}`,
    ...parts.map(({ protocol, bytes }) => `${protocol} ${bytes}`),
    `encryption, multiplexing, negotiation: ${flowed - sum(parts.map(({ bytes }) => bytes))}`,
  ].join('\n');
  say(told);

  expect(new Set(recipes).size).toBe(1);
  expect(nodes[0]!.community.view!.accepted).toHaveLength(2 * UPDATES);
  expect(flowed / lacked, told).toBeLessThanOrEqual(MAX_RATIO);
});
