import { appendFile, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { Judge } from '../../../node/core/judge.ts';
import { PairFile } from '../../../node/core/pair-file.ts';
import { type PairEntry, PairTable } from '../../../node/core/pair-table.ts';
import type { PayloadCalls } from '../../../node/work/payload-calls.ts';
import { WorkerThread } from '../../../node/work/rpc.ts';
import { checkPayload, openPayload } from '../../../src/codec/index.ts';
import type { Step } from '../../../src/history/index.ts';
import { type Decision, measurePair, measurePairs } from '../../../src/kinship/index.ts';
import { testId } from '../log/helpers.ts';
import {
  keptLog,
  makePond,
  newHome,
  openBook,
  payloadOf,
  random,
  scratch,
  silent,
  stepsOf,
  updates,
} from './support.ts';

const entry = (a: number, b: number, cosine: number | null, fixed: bigint): PairEntry => ({
  a: testId(a),
  b: testId(b),
  pair: { cosine, fixed },
});

/** The ends of the range: a product of two entries is at most 2⁶⁴ in magnitude, and rounding may pass it. */
const EDGES = [0n, 1n, -1n, 2n ** 63n, -(2n ** 63n), 2n ** 64n, -(2n ** 64n), 2n ** 64n + 2n ** 40n, -(2n ** 64n) - 1n];

describe('the table of comparisons', () => {
  test('gives every comparison back to the bit, in either order', () => {
    const table = new PairTable();
    for (const [i, fixed] of EDGES.entries()) table.set(entry(0, i + 1, i === 3 ? null : i / 7 - 0.5, fixed));
    expect(table.size).toBe(EDGES.length);
    for (const [i, fixed] of EDGES.entries()) {
      const pair = { cosine: i === 3 ? null : i / 7 - 0.5, fixed };
      expect(table.get(testId(0), testId(i + 1))).toEqual(pair);
      expect(table.get(testId(i + 1), testId(0))).toEqual(pair);
    }
    expect(table.get(testId(1), testId(2))).toBeUndefined();
    expect(table.get(testId(0), testId(99))).toBeUndefined();
    table.set(entry(5, 5, 1, 7n));
    expect(table.get(testId(5), testId(5))).toEqual({ cosine: 1, fixed: 7n });
  });

  test('takes comparisons in any order, and each once', () => {
    const pairs: PairEntry[] = [];
    for (let a = 0; a < 40; a++)
      for (let b = 0; b < a; b++) pairs.push(entry(a, b, a / 100 - b / 200, BigInt(a * 1000 + b)));
    const draw = random(3);
    const shuffled = pairs.map((pair) => ({ pair, key: draw() })).sort((x, y) => x.key - y.key);
    const table = new PairTable();
    for (const { pair } of shuffled) table.set(draw() < 0.5 ? pair : { ...pair, a: pair.b, b: pair.a });
    for (const pair of pairs) table.set({ ...pair, pair: { cosine: 0, fixed: 0n } });
    expect(table.size).toBe(pairs.length);
    for (const { a, b, pair } of pairs) expect(table.get(a, b)).toEqual(pair);
  });
});

async function loaded(path: string, logger = silent) {
  const file = new PairFile({ path }, { logger });
  const entries: PairEntry[] = [];
  await file.load((found) => entries.push(found));
  return { file, entries: entries.map(({ a, b, pair }) => [a.toString(), b.toString(), pair]) };
}

const shown = (entries: readonly PairEntry[]) => entries.map(({ a, b, pair }) => [a.toString(), b.toString(), pair]);

describe('the file of comparisons', () => {
  const first = EDGES.map((fixed, i) => entry(i, i + 1, i === 2 ? null : 1 / (i + 1), fixed));
  const second = [entry(0, 20, -0.25, -3n), entry(21, 1, 0.125, 3n)];

  test('gives back what was appended, over several starts', async () => {
    const path = join(await scratch(), 'derived', 'pairs');
    const one = await loaded(path);
    expect(one.entries).toEqual([]);
    await one.file.append(first);
    const two = await loaded(path);
    expect(two.entries).toEqual(shown(first));
    await two.file.append(second);
    expect((await loaded(path)).entries).toEqual(shown([...first, ...second]));
  });

  test('a torn tail is cut at every length, and what comes later is appended after the cut', async () => {
    const path = join(await scratch(), 'pairs');
    await (await loaded(path)).file.append(first);
    const whole = await readFile(path);
    for (const length of [whole.length - 1, whole.length - 39, whole.length - 40, whole.length - 41]) {
      await writeFile(path, whole.subarray(0, length));
      const { file, entries } = await loaded(path);
      expect(entries).toEqual(shown(first.slice(0, entries.length)));
      expect(entries.length).toBeGreaterThanOrEqual(first.length - 2);
      await file.append(second);
      expect((await loaded(path)).entries).toEqual([...entries, ...shown(second)]);
    }
  });

  test('what follows a damaged byte is not believed', async () => {
    const path = join(await scratch(), 'pairs');
    await (await loaded(path)).file.append(first);
    const bytes = await readFile(path);
    bytes[bytes.length - 100]! ^= 1;
    await writeFile(path, bytes);
    const { entries } = await loaded(path);
    expect(entries.length).toBeLessThan(first.length);
    expect(entries).toEqual(shown(first.slice(0, entries.length)));
    await appendFile(path, Buffer.alloc(400));
    expect((await loaded(path)).entries).toEqual(entries);
  });

  test.each(['', 'kinmerge/pairs/0\n', 'kinmerge', 'something else altogether'])(
    'a file that is no such file (%j) is deleted and made anew',
    async (content) => {
      const path = join(await scratch(), 'pairs');
      await writeFile(path, content);
      const { file, entries } = await loaded(path);
      expect(entries).toEqual([]);
      await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' });
      await file.append(second);
      expect((await loaded(path)).entries).toEqual(shown(second));
    },
  );

  test('a file that cannot be read or written costs the keeping, not the work', async () => {
    const directory = await scratch();
    const { logger, lines } = keptLog();
    const { file, entries } = await loaded(directory, logger);
    expect(entries).toEqual([]);
    await file.append(first);
    expect(lines).toHaveLength(1);
  });
});

test('comparing one with many gives the bits of one after another', async () => {
  const pond = await makePond();
  const measured = [];
  for (const seed of [1, 2, 3, 4]) {
    const bytes = payloadOf(pond, seed, { flip: seed === 3 });
    measured.push({ payload: await openPayload(bytes, pond.table), measure: await checkPayload(bytes, pond.table) });
  }
  const [one, ...others] = measured;
  const alone = [];
  for (const other of others) alone.push(await measurePair(other, one!));
  expect(await measurePairs(one!, others)).toEqual(alone);
  expect(await measurePairs(one!, [])).toEqual([]);
});

describe('admission was quadratic in calls and forgot its comparisons at every start', () => {
  async function setting() {
    const pond = await makePond();
    const home = await newHome(pond);
    const book = await openBook(pond, home);
    for (const { signed, payload } of await updates(pond, 6)) await book.take(signed, payload, 'peer');
    const worker = new WorkerThread<PayloadCalls>(new URL('../../../node/work/payload-worker.ts', import.meta.url), {
      charter: pond.home.charter,
    });
    onTestFinished(() => worker.close());
    const call = vi.spyOn(worker, 'call');
    const compared = () => {
      const jobs = call.mock.calls.flatMap(([method, job]) =>
        method === 'pairs' ? [job as unknown as { others: unknown[] }] : [],
      );
      call.mockClear();
      return jobs.map(({ others }) => others.length);
    };
    const make = (kept = true) =>
      new Judge({
        worker,
        files: book.payloads.blobs,
        ...(kept && { pairs: new PairFile({ path: home.pairs }, { logger: silent }) }),
      });
    return { pond, home, book, make, compared, order: stepsOf(pond, book.log) };
  }

  test('one call compares an update with all accepted ones; a new judge over the same file compares nothing', async () => {
    const { make, compared, order } = await setting();
    const decisions = await make().decide(order);
    expect(decisions.filter((result) => (result as Decision | null)?.accepted)).toHaveLength(6);
    expect(compared()).toEqual([1, 2, 3, 4, 5]);
    expect(await make().decide(order)).toEqual(decisions);
    expect(compared()).toEqual([]);
    expect(await make(false).decide(order)).toEqual(decisions);
    expect(compared()).toHaveLength(5);
  });

  test('a preview keeps nothing on disk; what it compared is kept once the update is held', async () => {
    const { home, make, compared, order } = await setting();
    const [last, ...rest] = [...order].reverse();
    const before = rest.reverse();
    const judge = make();
    await judge.decide(before);
    const kept = await readFile(home.pairs);
    const { update } = last as Step & { kind: 'update' };
    const candidate = { ...update, id: 'candidate', cid: update.payload };
    expect((await judge.preview(before, candidate)).accepted).toBe(true);
    expect(await readFile(home.pairs)).toEqual(kept);
    await judge.decide(order);
    compared();
    await make().decide(order);
    expect(compared()).toEqual([]);
  });

  test('an update that comes into the middle is compared with the later ones in one call', async () => {
    const { make, compared, order } = await setting();
    const judge = make();
    await judge.decide(order.filter((_, place) => place !== 2));
    compared();
    const decisions = await judge.decide(order);
    expect(compared()).toEqual([1, 4]);
    expect(await make(false).decide(order)).toEqual(decisions);
  });
});
