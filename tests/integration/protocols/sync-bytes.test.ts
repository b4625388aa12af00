/** What a sync costs on the wire, counted by a proxy: all of a connection's bytes, encryption and multiplexing included. */
import { connect as connectTcp, createServer, type Socket } from 'node:net';
import type { Libp2p } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { beforeAll, describe, expect, test } from 'vitest';
import { logSource, type PullResult, type Sync, sync } from '../../../protocols/index.ts';
import { encodeSigned, isSealEntry, Log, type LogEntry, payloadOf, type SignedRecord } from '../../../src/log/index.ts';
import { follow, testCharter, testId, testKey } from '../../unit/log/helpers.ts';
import { onCleanup, startNode } from './support.ts';

const COMMUNITY = testCharter();
const RECORDS = 10_000;
const AUTHORS = 100;
/** Time without a byte after which a connection is at rest. */
const QUIET_MS = 300;

interface Member {
  readonly node: Libp2p<{ sync: Sync }>;
  readonly log: Log;
}

function keep(log: Log, entries: readonly LogEntry[]): void {
  for (const entry of entries) {
    if (isSealEntry(entry)) continue;
    log.addRecord(entry);
    log.setPayload(payloadOf(entry.record)!, 100);
  }
}

async function member(records: readonly SignedRecord[]): Promise<Member> {
  const log = new Log({ charter: COMMUNITY.charter, charterId: COMMUNITY.id });
  keep(log, records);
  const source = logSource({ log, charter: COMMUNITY.id, head: () => null });
  return { node: await startNode<{ sync: Sync }>({ sync: sync({ source }) }), log };
}

/** Counts what goes through it in both directions. */
async function countingProxy(port: number): Promise<{ port: number; count: { bytes: number } }> {
  const count = { bytes: 0 };
  const sockets: Socket[] = [];
  const server = createServer((inner) => {
    const outer = connectTcp(port, '127.0.0.1');
    sockets.push(inner, outer);
    for (const [from, to] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      from.on('data', (chunk) => {
        count.bytes += chunk.length;
        to.write(chunk);
      });
      from.on('error', () => to.destroy());
      from.on('close', () => to.destroy());
    }
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  onCleanup(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as { port: number }).port, count };
}

async function quiet(count: { bytes: number }): Promise<void> {
  for (let before = -1; before !== count.bytes; ) {
    before = count.bytes;
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
  }
}

/** One round over a connection that has come to rest. */
async function pull(to: Member, from: Member): Promise<PullResult & { bytes: number }> {
  const [address] = from.node.getMultiaddrs();
  const proxy = await countingProxy(Number(/tcp\/(\d+)/.exec(address!.toString())![1]));
  await to.node.dial(multiaddr(`/ip4/127.0.0.1/tcp/${proxy.port}/p2p/${from.node.peerId}`));
  await quiet(proxy.count);
  const before = proxy.count.bytes;
  const result = await to.node.services.sync.pull(from.node.peerId, (batch) => keep(to.log, batch));
  await quiet(proxy.count);
  return { ...result, bytes: proxy.count.bytes - before };
}

let records: SignedRecord[];
beforeAll(() => {
  records = [];
  for (let i = 0; i < RECORDS; i++) {
    const prev = records[i - AUTHORS] ?? null;
    const other = records.slice(-1);
    records.push(follow(testKey(i % AUTHORS), COMMUNITY.id, prev, other, { payload: testId(i), title: `${i}` }));
  }
}, 120_000);

describe('a sync with a node of 10,000 records', () => {
  test('costs less than 2 KB when both have the same', async () => {
    const result = await pull(await member(records), await member(records));
    expect(result).toMatchObject({ equal: true, received: 0 });
    expect(result.bytes).toBeLessThanOrEqual(2_000);
  }, 60_000);

  test('that lacks ten of them costs little more than these', async () => {
    const [behind, ahead] = [await member(records.slice(0, -10)), await member(records)];
    const result = await pull(behind, ahead);
    expect(result).toMatchObject({ received: 10, complete: true });
    const lacked = records.slice(-10).reduce((sum, signed) => sum + encodeSigned(signed).length, 0);
    expect(result.bytes / lacked).toBeLessThan(1.9);
    expect(await pull(behind, ahead)).toMatchObject({ equal: true });
  }, 60_000);
});
