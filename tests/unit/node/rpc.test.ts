import { describe, expect, onTestFinished, test } from 'vitest';
import { WorkerThread } from '../../../node/work/rpc.ts';
import type { Progress } from '../../../src/run-options.ts';
import type { Calls } from './rpc-worker.ts';

function worker(data?: unknown): WorkerThread<Calls> {
  const thread = new WorkerThread<Calls>(new URL('./rpc-worker.ts', import.meta.url), data);
  onTestFinished(() => thread.close());
  return thread;
}

describe('calls into a worker thread', () => {
  test('carry arguments, results and the data of the worker', async () => {
    const thread = worker({ charter: 'x' });
    const value = { list: [1, null], bytes: Uint8Array.of(1, 2), map: new Map([['a', 1n]]) };
    expect(await thread.call('echo', value)).toEqual(value);
    expect(await thread.call('data', undefined as never)).toEqual({ charter: 'x' });
  });

  test('keep the code, fields and name of an error', async () => {
    const thread = worker();
    await expect(thread.call('fail', 'typed')).rejects.toMatchObject({
      name: 'NodeError',
      code: 'BLOB_INVALID',
      message: 'typed',
      fields: { missing: 3, big: '1970-01-01T00:00:00.000Z' },
    });
    await expect(thread.call('fail', 'plain')).rejects.toMatchObject({ name: 'TypeError', message: 'plain' });
    await expect(thread.call('fail', 'string')).rejects.toThrow('a string');
  });

  test('a call that does not exist fails and harms no other', async () => {
    const thread = worker();
    await expect(thread.call('nothing' as 'echo', null)).rejects.toThrow('no such call');
    expect(await thread.call('echo', 1)).toBe(1);
  });

  test('aborting rejects at once with the reason, also while the worker is busy', async () => {
    const thread = worker();
    await thread.call('echo', 0);
    const controller = new AbortController();
    const busy = thread.call('spin', 400);
    const queued = thread.call('hang', null, { signal: controller.signal });
    const reason = new Error('no longer wanted');
    const start = performance.now();
    controller.abort(reason);
    await expect(queued).rejects.toBe(reason);
    expect(performance.now() - start).toBeLessThan(200);
    await busy;
    expect(await thread.call('echo', 'next')).toBe('next');
  });

  test('aborting reaches the work under way, so that the next call gets its turn', async () => {
    const thread = worker();
    const controller = new AbortController();
    const hanging = thread.call('hang', null, { signal: controller.signal });
    const next = thread.call('echo', 'next');
    await new Promise((resolve) => setTimeout(resolve, 50));
    controller.abort();
    await expect(hanging).rejects.toThrow();
    expect(await next).toBe('next');
  });

  test('a signal that was aborted before starts nothing', async () => {
    await expect(worker().call('echo', 1, { signal: AbortSignal.abort() })).rejects.toThrow();
  });

  test('progress is thinned, and its last word always comes', async () => {
    const seen: Progress[] = [];
    await worker().call('progress', 100_000, { onProgress: (progress) => seen.push(progress) });
    expect(seen.at(-1)).toMatchObject({ done: 100_000, total: 100_000 });
    expect(seen.length).toBeLessThan(50);
  });

  test.each(['exit', 'throw'] as const)(
    'a worker that dies (%s) fails its calls; the next call starts a new one',
    async (how) => {
      const thread = worker();
      const results = await Promise.allSettled([thread.call('die', how), thread.call('echo', 'queued')]);
      for (const result of results) {
        expect(result).toMatchObject({ status: 'rejected', reason: { code: 'WORKER_FAILED' } });
      }
      expect(await thread.call('echo', 'again')).toBe('again');
    },
  );

  test('closing aborts what is under way and refuses what comes after', async () => {
    const thread = worker();
    const hanging = expect(thread.call('hang', null)).rejects.toThrow();
    await thread.close();
    await hanging;
    await expect(thread.call('echo', 1)).rejects.toMatchObject({ code: 'WORKER_FAILED' });
  });
});
