/** A hostile peer on a thread of its own: floods a node with records that can never be held. */

import { parentPort, workerData } from 'node:worker_threads';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { multiaddr } from '@multiformats/multiaddr';
import type { CID } from 'multiformats/cid';
import { createHost, encodeUpdate, fixedSource, sync, updatesTopic } from '../../protocols/index.ts';
import { encodeSigned, keyFromSeed, parseId, type SignedRecord } from '../../src/log/index.ts';
import { follow, testId } from '../unit/log/helpers.ts';

export interface FloodJob {
  readonly addresses: readonly string[];
  readonly community: string;
  /** `gossip`: children of parents that do not exist. `sync`: records whose payloads nobody has. */
  readonly way: 'gossip' | 'sync';
  readonly records: number;
}

const { addresses, community, way, records } = workerData as FloodJob;
const charter = parseId(community);

/** One author each: the share of an author is not what bounds this flood. */
function made(n: number, prev: SignedRecord | null): SignedRecord {
  const seed = new Uint8Array(32);
  new DataView(seed.buffer).setUint32(4, n + 1);
  return follow(keyFromSeed(seed), charter, prev, [], { payload: testId(1_000_000 + n), title: `flood ${n}` });
}

const flood: { id: CID; bytes: Uint8Array }[] = [];
for (let i = 0; i < records; i++) {
  const root = made(i, null);
  const signed = way === 'sync' ? root : made(i, root);
  flood.push({ id: signed.id, bytes: encodeSigned(signed) });
}

const host = await createHost(
  {
    privateKey: await generateKeyPair('Ed25519'),
    listen: [],
    version: '0.0.0-test',
    communities: [charter],
  },
  {
    sync: sync({ source: fixedSource(charter, way === 'sync' ? flood : []) }),
  },
);
const topic = updatesTopic(charter);
host.services.gossip.subscribe(topic);
parentPort!.postMessage('ready');
await new Promise((resolve) => parentPort!.once('message', resolve));
await host.dial(addresses.map((address) => multiaddr(address)));
if (way === 'gossip') {
  while (host.services.gossip.getSubscribers(topic).length === 0)
    await new Promise((resolve) => setTimeout(resolve, 20));
  for (const { bytes } of flood) {
    await host.services.gossip.publish(topic, encodeUpdate({ record: bytes, payload: null }));
    // The node drops what comes faster than it judges; a cunning peer stays just below that.
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
parentPort!.postMessage('sent');
await new Promise((resolve) => parentPort!.once('message', resolve));
await host.stop();
process.exit(0);
