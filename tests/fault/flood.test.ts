import { once } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { expect, onTestFinished, test } from 'vitest';
import { MAX_PENDING_PER_SOURCE } from '../../src/log/pending.ts';
import { eventually, makePond } from '../unit/node/support.ts';
import type { FloodJob } from './flood-worker.ts';
import { settle, startNode, takesGoodUpdate, watchEventLoop } from './support.ts';

/** Growth of the heap that a full share of waiting records may cost, in bytes: see `MAX_PENDING` (10 KiB each). */
const MAX_GROWTH_BYTES = 64 * 2 ** 20;

/** Bytes of the heap that are really in use. */
function heapInUse(): number {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  return process.memoryUsage().heapUsed;
}

test.each(['sync', 'gossip'] as const)(
  'a flood of 5,000 records that can never be held, by %s, is bounded and holds nothing up',
  async (way) => {
    const pond = await makePond();
    const node = await startNode(pond);
    const job: FloodJob = {
      addresses: node.network.addresses(),
      community: pond.charterId.toString(),
      way,
      records: 5_000,
    };
    const peer = new Worker(new URL('./flood-worker.ts', import.meta.url), { workerData: job });
    onTestFinished(async () => {
      await peer.terminate();
    });
    expect((await once(peer, 'message'))[0]).toBe('ready');
    await node.service.status();
    const heap = heapInUse();
    const loop = watchEventLoop();
    const sent = once(peer, 'message');
    peer.postMessage('go');
    await sent;
    const { log } = node.community.book;
    if (way === 'sync') await eventually(() => expect(log.pendingSize).toBe(MAX_PENDING_PER_SOURCE), 60_000);
    let steps = 0;
    while (steps++ < 10) {
      // Who asks meanwhile is answered.
      await node.service.status();
      await settle(100);
    }
    loop.expectFree();
    expect(log.pendingSize).toBeGreaterThan(way === 'sync' ? MAX_PENDING_PER_SOURCE - 1 : 100);
    expect(log.pendingSize).toBeLessThanOrEqual(MAX_PENDING_PER_SOURCE);
    expect(log.size).toBe(0);
    expect(heapInUse() - heap).toBeLessThan(MAX_GROWTH_BYTES);
    await takesGoodUpdate(pond, node);
  },
  120_000,
);
