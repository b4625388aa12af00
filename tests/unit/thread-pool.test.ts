import { describe, expect, onTestFinished, test } from 'vitest';
import { JOBS_AT_HAND, ThreadError, ThreadPool } from '../../src/thread-pool.ts';
import type { TestJob } from './thread-pool-worker.ts';

const WORKER = new URL('thread-pool-worker.ts', import.meta.url);

function poolOf(threads: number, url = WORKER): ThreadPool<TestJob, number | Uint8Array> {
  const pool = new ThreadPool<TestJob, number | Uint8Array>({ url, threads, name: 'test' });
  onTestFinished(() => pool.close());
  return pool;
}

async function failureOf(promise: Promise<unknown>): Promise<ThreadError> {
  const error = await promise.then(
    () => expect.fail('it did not fail'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ThreadError);
  return error as ThreadError;
}

const ports = () => process.getActiveResourcesInfo().filter((resource) => resource === 'MessagePort').length;

describe('jobs', () => {
  test('are all done, more of them than threads, each with its own result', async () => {
    const pool = poolOf(2);
    const values = Array.from({ length: 40 }, (_, i) => i);
    const results = await Promise.all(values.map((value) => pool.run({ kind: 'double', value })));
    expect(results).toEqual(values.map((value) => 2 * value));
  });

  test('use no more threads than were asked for, and start none before there is work', async () => {
    const before = ports();
    const pool = poolOf(2);
    expect(ports()).toBe(before);
    await Promise.all([1, 2, 3, 4, 5].map((value) => pool.run({ kind: 'double', value })));
    expect(ports() - before).toBe(2);
    await pool.close();
    expect(ports()).toBe(before);
  });

  test('lie at hand: a thread goes on to the next one while this side is busy, and to no more', async () => {
    const pool = poolOf(1);
    await pool.run({ kind: 'double', value: 1 });
    const done = new Int32Array(new SharedArrayBuffer(4));
    const jobs = [1, 2, 3].map(() => pool.run({ kind: 'count', done }));
    for (let count = 0; count < JOBS_AT_HAND; count++) Atomics.wait(done, 0, count, 10_000);
    Atomics.wait(done, 0, JOBS_AT_HAND, 200);
    expect(Atomics.load(done, 0)).toBe(JOBS_AT_HAND);
    await Promise.all(jobs);
    expect(Atomics.load(done, 0)).toBe(3);
  });

  test('do not lie behind a long one when they are the last', async () => {
    const pool = poolOf(2);
    const long = failureOf(pool.run({ kind: 'block' }));
    const results = await Promise.all([1, 2].map((value) => pool.run({ kind: 'double', value })));
    expect(results).toEqual([2, 4]);
    await pool.close();
    expect((await long).code).toBe('POOL_CLOSED');
  });

  test('hand memory over', async () => {
    const result = await poolOf(1).run({ kind: 'hand over', bytes: 1000 });
    expect(result).toEqual(new Uint8Array(1000).fill(7));
  });
});

describe('errors', () => {
  test('of a job keep their code, message and fields, and the thread goes on', async () => {
    const pool = poolOf(1);
    const error = await failureOf(pool.run({ kind: 'throw coded' }));
    expect(error).toMatchObject({ code: 'TEST_CODE', message: 'It went wrong. Try another.', fields: { where: 5 } });
    expect(await pool.run({ kind: 'double', value: 4 })).toBe(8);
  });

  test('without a code have one', async () => {
    expect(await failureOf(poolOf(1).run({ kind: 'throw plain' }))).toMatchObject({
      code: 'THREAD_FAILED',
      message:
        'A thread failed at its work: out of something. Try again with more free memory; if that does not help, report it.',
    });
  });

  test('a thread that dies fails its job alone: another takes its place', async () => {
    const pool = poolOf(1);
    const [died, doubled] = await Promise.all([
      failureOf(pool.run({ kind: 'die' })),
      pool.run({ kind: 'double', value: 21 }),
    ]);
    expect(died.code).toBe('THREAD_DIED');
    expect(died.message).toContain('Try again with more free memory');
    expect(doubled).toBe(42);
  });

  test('a thread that cannot start fails every job, and none hangs', async () => {
    const pool = poolOf(2, new URL('no-such-worker.ts', import.meta.url));
    const errors = await Promise.all([1, 2, 3].map((value) => failureOf(pool.run({ kind: 'double', value }))));
    expect(errors.map((error) => error.code)).toEqual(['THREAD_DIED', 'THREAD_DIED', 'THREAD_DIED']);
  });
});

describe('closing', () => {
  test('ends threads in the middle of their work, and fails what was not done', async () => {
    const before = ports();
    const pool = poolOf(2);
    const jobs = [pool.run({ kind: 'block' }), pool.run({ kind: 'block' }), pool.run({ kind: 'double', value: 1 })];
    const failures = Promise.all(jobs.map(failureOf));
    await new Promise((resolve) => setTimeout(resolve, 300));
    const start = performance.now();
    await pool.close();
    expect(performance.now() - start).toBeLessThan(1000);
    expect((await failures).map((error) => error.code)).toEqual(['POOL_CLOSED', 'POOL_CLOSED', 'POOL_CLOSED']);
    expect(ports()).toBe(before);
    expect((await failureOf(pool.run({ kind: 'double', value: 1 }))).code).toBe('POOL_CLOSED');
  });

  test('a second time waits as the first does', async () => {
    const before = ports();
    const pool = poolOf(1);
    const job = failureOf(pool.run({ kind: 'block' }));
    await new Promise((resolve) => setTimeout(resolve, 200));
    void pool.close();
    await pool.close();
    expect(ports()).toBe(before);
    expect((await job).code).toBe('POOL_CLOSED');
  });

  test('without any job does nothing', async () => {
    await poolOf(3).close();
  });
});
