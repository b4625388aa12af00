import { describe, expect, test } from 'vitest';
import { BoundedQueue } from '../../../protocols/bounded-queue.ts';

const limits = { concurrency: 2, maxEntries: 4, maxBytes: 100, maxEntriesPerPeer: 3 };

function gated() {
  const gate = Promise.withResolvers<void>();
  let running = 0;
  let most = 0;
  const task = async () => {
    running++;
    most = Math.max(most, running);
    await gate.promise;
    running--;
    return 'done';
  };
  return { open: gate.resolve, task, most: () => most };
}

describe('a bounded queue', () => {
  test('runs no more tasks at once than allowed, and all of them in the end', async () => {
    const queue = new BoundedQueue(limits);
    const { open, task, most } = gated();
    const results = ['a', 'b', 'c', 'd'].map((peer) => queue.run(peer, 1, task));
    open();
    expect(await Promise.all(results)).toEqual(['done', 'done', 'done', 'done']);
    expect(most()).toBe(2);
    expect(queue.size).toBe(0);
  });

  test('drops the newest above its entries, its bytes and the entries of one peer', async () => {
    const { open, task } = gated();
    const entries = new BoundedQueue(limits);
    for (const peer of ['a', 'b', 'c', 'd']) expect(entries.run(peer, 1, task)).toBeDefined();
    expect(entries.run('e', 1, task)).toBeUndefined();
    expect(entries.dropped).toBe(1);

    const bytes = new BoundedQueue(limits);
    expect(bytes.run('a', 100, task)).toBeDefined();
    expect(bytes.run('b', 1, task)).toBeUndefined();

    const perPeer = new BoundedQueue(limits);
    for (let i = 0; i < 3; i++) expect(perPeer.run('a', 1, task)).toBeDefined();
    expect(perPeer.run('a', 1, task)).toBeUndefined();
    expect(perPeer.run('b', 1, task)).toBeDefined();
    open();
  });

  test('takes new tasks when old ones have ended, also after failures', async () => {
    const queue = new BoundedQueue({ ...limits, concurrency: 1, maxEntries: 2 });
    for (let i = 0; i < 5; i++) {
      const failed = queue.run('a', 100, () => Promise.reject(new Error(`task ${i}`)));
      await expect(failed).rejects.toThrow(`task ${i}`);
    }
    expect(queue.size).toBe(0);
    expect(await queue.run('a', 100, async () => 7)).toBe(7);
    expect(queue.dropped).toBe(0);
  });

  test('when closed drops what waits, takes nothing more, and ends with what runs', async () => {
    const queue = new BoundedQueue({ ...limits, concurrency: 1 });
    const { open, task } = gated();
    const running = queue.run('a', 1, task);
    let ran = false;
    const waiting = queue.run('b', 1, async () => {
      ran = true;
    });
    let closed = false;
    const closing = queue.close().then(() => {
      closed = true;
    });
    expect(await waiting).toBeUndefined();
    expect(queue.run('c', 1, task)).toBeUndefined();
    expect(closed).toBe(false);
    open();
    expect(await running).toBe('done');
    await closing;
    expect(ran).toBe(false);
    await new BoundedQueue(limits).close();
  });
});
