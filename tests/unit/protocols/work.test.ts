import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BlockWork } from '../../../protocols/blocks/work.ts';

describe('the blocks of one fetch', () => {
  test('are handed out once each, without those that are there', async () => {
    const work = new BlockWork(5, (index) => index === 1 || index === 4);
    const taken: number[] = [];
    for (let next = await work.take(); next !== undefined; next = await work.take()) taken.push(next);
    expect(taken).toEqual([0, 2, 3]);
    expect(work.skipped).toBe(2);
    expect(work.finished).toBe(false);
    for (const index of taken) expect(work.claim(index)).toBe(true);
    expect(work.finished).toBe(true);
  });

  test('what one peer gives back another one gets, even when it was waiting for that', async () => {
    const work = new BlockWork(1, () => false);
    expect(await work.take()).toBe(0);
    const waiting = work.takeOrWait();
    work.giveBack([0]);
    expect(await waiting).toBe(0);
    const idle = work.takeOrWait();
    expect(work.claim(0)).toBe(true);
    work.done();
    expect(await idle).toBeUndefined();
  });

  test('are all delivered by any number of peers that fail now and then', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 40 }),
        fc.array(fc.boolean(), { maxLength: 30 }),
        async (count, fails) => {
          const work = new BlockWork(count, async () => false);
          const got = new Set<number>();
          const peer = async () => {
            for (let next = await work.takeOrWait(); next !== undefined; next = await work.takeOrWait()) {
              await Promise.resolve();
              if (fails.pop()) work.giveBack([next]);
              else {
                if (work.claim(next)) got.add(next);
                work.done();
              }
            }
          };
          await Promise.all([peer(), peer(), peer()]);
          expect(got.size).toBe(count);
          expect(work.finished).toBe(true);
        },
      ),
      { numRuns: 50 },
    );
  });

  test('one that is owed for too long goes to a second peer; who delivers first counts, once', async () => {
    const work = new BlockWork(1, () => false, { hedgeMs: 20 });
    expect(await work.take()).toBe(0);
    expect(await work.take()).toBeUndefined();
    expect(await work.takeOrWait()).toBe(0);
    work.giveBack([0]);
    expect(work.finished).toBe(false);
    // The other one still owes it.
    expect(await work.take()).toBeUndefined();
    expect(work.claim(0)).toBe(true);
    work.done();
    expect(work.claim(0)).toBe(false);
    work.giveBack([0]);
    expect(work.finished).toBe(true);
  });

  test('an error of the sink leaves nothing in flight', async () => {
    const work = new BlockWork(2, () => Promise.reject(new Error('disk')));
    await expect(work.take()).rejects.toThrow('disk');
    expect(await work.takeOrWait()).toBe(0);
    await expect(work.takeOrWait()).rejects.toThrow('disk');
    work.giveBack([0]);
    expect([await work.takeOrWait(), await work.takeOrWait()].sort()).toEqual([0, 1]);
  });
});
