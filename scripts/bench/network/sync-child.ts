/** A process with two nodes that compare their logs, and what each exchange costs on the wire. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { multiaddr } from '@multiformats/multiaddr';
import { BLOCKS_PROTOCOL } from '../../../protocols/blocks/index.ts';
import { SYNC_PROTOCOL } from '../../../protocols/index.ts';
import { encodeSigned, manifestOf, type SignedRecord } from '../../../src/log/index.ts';
import { Authors } from './authors.ts';
import { SyncNode } from './sync-node.ts';
import { CountingRelay, StreamBytes } from './wire.ts';

/** How two logs differ. The client asks, the server answers. */
export interface SyncCase {
  readonly name: string;
  /** Records that only the server has, and that only the client has. */
  readonly server: number;
  readonly client: number;
  /** Whether these go on from the end of the log, one after another, or each from a record anywhere in it. */
  readonly where: 'end' | 'anywhere';
}

export interface SyncJob {
  readonly directory: string;
  readonly charter: string;
  /** Records of the larger log. */
  readonly records: number;
  readonly payloadBytes: number;
  readonly cases: readonly SyncCase[];
}

/** Bytes, both directions. */
export interface SyncRow {
  readonly case: SyncCase;
  readonly sync: number;
  readonly blocks: number;
  readonly tcp: number;
  /** Of the records that the client lacked, and of their payloads. */
  readonly recordBytes: number;
  readonly payloadBytes: number;
  /** Until all of them were held. */
  readonly seconds: number;
}

/** Time for what follows a new connection (identify, gossip's first messages), and for the end of an exchange. */
const QUIET_MS = 1_000;
const AUTHORS = 20;

const job = JSON.parse(process.argv[2]!) as SyncJob;
const rows: SyncRow[] = [];
for (const [index, one] of job.cases.entries()) rows.push(await measure(one, index));
process.stdout.write(JSON.stringify({ rows }));
process.exit();

async function measure(one: SyncCase, index: number): Promise<SyncRow> {
  const node = (name: string) => SyncNode.start(join(job.directory, `${name}-${index}`), job.charter);
  const [server, client] = [await node('server'), await node('client')];
  const { charterId } = server;
  const authors = new Authors({ charterId, authors: AUTHORS });
  const common: SignedRecord[] = [];
  for (let i = 0; i < job.records - one.server; i++) {
    // The payloads of what both have never travel: their ids are enough.
    const { id } = await manifestOf(randomBytes(16));
    common.push(authors.publish(id, common.slice(-1)));
  }
  for (const each of [server, client]) each.remember(common.map((signed) => ({ signed, bytes: 16 })));
  const only = async (count: number) => {
    const others = new Authors({ charterId, authors: Math.max(1, count) });
    const updates: { signed: SignedRecord; payload: Uint8Array }[] = [];
    for (let i = 0; i < count; i++) {
      const payload = randomBytes(job.payloadBytes);
      const before = updates.at(-1)?.signed ?? common.at(-1);
      const seen = one.where === 'end' ? before : common[Math.floor(((i + 0.5) / count) * common.length)];
      updates.push({ signed: others.publish((await manifestOf(payload)).id, seen ? [seen] : []), payload });
    }
    return updates;
  };
  const [lacked, extra] = [await only(one.server), await only(one.client)];
  for (const { signed, payload } of lacked) await server.book.take(signed, payload, 'bench');
  for (const { signed, payload } of extra) await client.book.take(signed, payload, 'bench');

  const address = server.host.getMultiaddrs()[0]!;
  const relay = await CountingRelay.open(Number(/\/tcp\/(\d+)/.exec(address.toString())![1]));
  const streams = [SYNC_PROTOCOL, BLOCKS_PROTOCOL].map((protocol) => new StreamBytes(client.host, protocol));
  await client.host.dial(multiaddr(`/ip4/127.0.0.1/tcp/${relay.port}/p2p/${server.host.peerId}`));
  await sleep(QUIET_MS);
  for (const counter of [relay, ...streams]) counter.take();
  const started = performance.now();
  await client.pull(server.host.peerId, job.records + one.client);
  const seconds = (performance.now() - started) / 1000;
  await sleep(QUIET_MS / 4);
  const [tcp, sync, blocks] = [relay, ...streams].map((counter) => counter.take());
  await client.stop();
  await server.stop();
  relay.close();
  const recordBytes = lacked.reduce((sum, { signed }) => sum + encodeSigned(signed).length, 0);
  const payloadBytes = lacked.reduce((sum, { payload }) => sum + payload.length, 0);
  return { case: one, sync: sync!, blocks: blocks!, tcp: tcp!, recordBytes, payloadBytes, seconds };
}
