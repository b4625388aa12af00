import { describe, expect, it } from 'vitest';
import { startNode, type TestNode } from '../fault/support.ts';
import { eventually } from '../unit/node/support.ts';
import { cidOf, hex } from './documents.ts';
import { Oracle } from './drive.ts';
import { deliveriesOf, everything, type Item } from './generate/deliveries.ts';
import type { Writing } from './generate/writing.ts';
import type { Outcome } from './index.ts';
import { signedRecord, signedSeal } from './product.ts';
import { foldedBytes, keepsToBudgets, pondOf, writeReal } from './real-support.ts';

/** How many histories: by hand 100. */
const HISTORIES = Number(process.env.KINMERGE_REAL_HISTORIES ?? 10);
const FIRST_SEED = Number(process.env.KINMERGE_HISTORY_SEED ?? 1);
const SIZE = { least: 6, most: 18 };
const NODES = 3;
/** Time for one history on a busy machine, in milliseconds. */
const PATIENCE_MS = 60_000;

/** Brings what a peer would bring. */
async function give(node: TestNode, item: Item, { payloads }: Writing): Promise<void> {
  const { book } = node.community;
  if (item.kind === 'record') {
    const { rec } = item.made;
    const content = rec.kind === 'update' ? payloads.get(rec.payload)!.content! : null;
    await book.take(signedRecord(item.made), content, 'a writer');
  } else if (item.kind === 'seal') await book.takeSeal(signedSeal(item.made));
}

/** Waits until a node has come to the outcome and has folded it. */
async function reaches(node: TestNode, { held, seals, trouble, recipeId }: Outcome): Promise<void> {
  const { community } = node;
  const recipe = cidOf(recipeId).toString();
  await eventually(async () => {
    expect([...community.book.log.held()].map(({ id }) => hex(id.bytes)).sort()).toEqual(held);
    const view = await community.settled();
    expect(view.seals.map(({ id }) => hex(id.bytes))).toEqual(seals);
    expect(view.alarm !== null).toBe(trouble !== null && trouble.why !== 'waiting');
    expect(view.recipeId.toString()).toBe(recipe);
    expect(community.finished(view.recipeId)?.recipe).toBe(recipe);
  }, PATIENCE_MS);
}

async function play(writing: Writing): Promise<void> {
  const pond = await pondOf(writing);
  const nodes: TestNode[] = [];
  for (let i = 0; i < NODES; i++) nodes.push(await startNode(pond, { fold: true, peers: nodes.slice() }));
  // Every item comes to one node, each time another; the network carries it to the others.
  const order = deliveriesOf(writing, null)[1]!.items;
  for (const [at, item] of order.entries()) await give(nodes[at % NODES]!, item, writing);
  // Writers offer again what found no place: records before their parents' were known, seals before their sealers'.
  const outcome = new Oracle(writing).of(everything(writing));
  for (const item of everything(writing)) await give(nodes[0]!, item, writing);
  await Promise.all(nodes.map((node) => reaches(node, outcome)));
  const [first, ...others] = await Promise.all(nodes.map((node) => foldedBytes(node, writing, outcome)));
  expect(Object.keys(first!).length).toBeGreaterThan(0);
  for (const other of others) expect(other).toEqual(first);
  await Promise.all(nodes.map((node) => node.stop()));
}

describe('real nodes', () => {
  const seeds: number[] = [];
  for (let seed = FIRST_SEED; seeds.length < HISTORIES; seed++) {
    if (keepsToBudgets(writeReal(seed, SIZE))) seeds.push(seed);
  }

  it.each(seeds)(
    'that are told a history piece by piece come to the oracle’s recipe and to the same bytes: seed %i',
    { timeout: 3 * PATIENCE_MS },
    (seed) => play(writeReal(seed, SIZE)),
  );
});
