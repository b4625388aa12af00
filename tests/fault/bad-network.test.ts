/**
 * The demo's story where every connection between nodes goes through a bad link: real daemons, each a process of its own,
 * that know only the addresses of proxies.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { growModel } from '../../scripts/demo/network.ts';
import type { DemoNode } from '../../scripts/demo/node.ts';
import { makeTasks } from '../../scripts/demo/vision8.ts';
import { freePort, Stage } from '../e2e/support/network.ts';
import { BadLink, type LinkBehaviour, random } from '../support/bad-link.ts';

/** Half a minute on good links, a bit more than one on these; on a machine that does much else it took four. */
const TEST_MS = 480_000;

/**
 * A payload of vision8 (40 KiB) takes a fifth of a second, the merged checkpoint (1.8 MB) nine. A connection is stalled
 * a tenth of the time and lives three quarters of a minute: several end during the story, and some in the middle of a
 * pull.
 */
const BEHAVIOUR: LinkBehaviour = {
  delayMs: 100,
  bytesPerSecond: 200_000,
  stall: { everyMs: 15_000, forMs: [500, 3_000] },
  reset: { everyMs: 45_000 },
};

/** Of `KINMERGE_SEED`, for the run that is to be repeated; else the clock's. */
const SEED = Number(process.env.KINMERGE_SEED ?? Date.now() % 2 ** 31);

let stage: Stage;
const links = new Map<string, BadLink>();

beforeEach(async () => {
  stage = await Stage.open();
});

afterEach(async () => {
  await stage.close();
  await Promise.all(Array.from(links.values(), (link) => link.close()));
});

test('a community grows over links that delay, limit, stall and reset', { timeout: TEST_MS }, async () => {
  const story: string[] = [`seed ${SEED}: set KINMERGE_SEED to run it again`];
  const started = performance.now();
  const say = (line: string) => story.push(`${((performance.now() - started) / 1_000).toFixed(1)} s  ${line}`);
  try {
    const tasks = await makeTasks(stage.work, random(SEED));
    const grown = await growModel({
      cast: stage.cast,
      tasks,
      work: stage.work,
      say,
      addresses,
      attempts: 10,
      onAgreed,
    });
    expect(grown.recipes).toHaveLength(4);
    expect(new Set(grown.recipes).size).toBe(1);
    expect(grown.verified.total).toBe(53);
    expect(grown.verified.checked).toBe(grown.verified.total);
    const counts = [...links.values()].map((link) => link.counts);
    const sum = (key: keyof BadLink['counts']) => counts.reduce((total, one) => total + one[key], 0);
    say(`${sum('bytes')} bytes, ${sum('connections')} connections, ${sum('stalls')} stalls, ${sum('resets')} resets`);
    // The links did what they are for, or the test shows nothing.
    expect(counts).toSatisfy((all: BadLink['counts'][]) => all.every(({ connections }) => connections > 0));
    expect(sum('resets')).toBeGreaterThan(3);
    expect(sum('stalls')).toBeGreaterThan(3);
  } finally {
    process.stderr.write(`${story.join('\n')}\n`);
  }
});

/** A link before every node. The port behind it stays, so that the node is found again after a restart. */
async function addresses(home: string): Promise<{ listen: string; announce: string }> {
  const target = await freePort();
  const link = await BadLink.open({ target, behaviour: BEHAVIOUR, seed: SEED + links.size });
  links.set(home, link);
  return { listen: `/ip4/127.0.0.1/tcp/${target}`, announce: link.address };
}

/** Nobody knows another way to anybody than through his link. */
async function onAgreed(nodes: readonly DemoNode[]): Promise<void> {
  const homes = new Map(nodes.map(({ home, ready }) => [ready.peerId, home]));
  for (const node of nodes) {
    expect(node.ready.addresses).toEqual([`${links.get(node.home)!.address}/p2p/${node.ready.peerId}`]);
    for (const { id, addresses } of await node.api.peers()) {
      // Who only came for the charter has no address.
      const home = homes.get(id);
      expect(addresses).toEqual(home === undefined ? [] : [`${links.get(home)!.address}/p2p/${id}`]);
    }
  }
}
