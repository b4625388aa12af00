import { cp, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type FoldTensor,
  foldStep,
  openState,
  STATE_FILE,
  STATE_JSON_MAX,
  STATE_VERSION,
  SUM_FILE,
  type TaskVector,
} from '../../../src/merge/index.ts';
import { gaussian32 } from '../compute/random.ts';
import { checkpointOf, engineOf, fixture, foldAll, foldAndKill, readSum, ref, scratch, taskVector } from './helpers.ts';

const tensors: FoldTensor[] = [
  { name: 'a', shape: [20, 30], linear: true },
  { name: 'b', shape: [30], linear: false },
  { name: 'c', shape: [30, 20], linear: true },
  { name: 'd', shape: [20, 20], linear: true },
];
const update = (seed: number): TaskVector =>
  taskVector(
    tensors,
    Object.fromEntries(
      tensors.map(({ name, shape }, i) => [
        name,
        gaussian32(
          shape.reduce((a, b) => a * b, 1),
          10 * seed + i,
          0.01,
        ),
      ]),
    ),
  );
const engine = await engineOf(1);
const contentOf = async (dir: string) => [await readFile(join(dir, SUM_FILE)), await readFile(join(dir, STATE_FILE))];

let dir: string;
let from: string;
beforeAll(async () => {
  dir = await scratch();
  from = (await foldAll(dir, tensors, [update(1), update(2)], engine)).state;
});
const step = (to: string, more: Partial<Parameters<typeof foldStep>[0]> = {}, options = {}) =>
  foldStep({ from, to, tensors, update: update(3), rule: ref, engine, ...more }, options);

describe('a fold step', () => {
  it('writes the same bytes whatever the number of workers, and leaves the state before as it was', async () => {
    const before = await contentOf(from);
    const results = [];
    for (const workers of [1, 2, 4]) {
      const to = join(dir, `workers-${workers}`);
      await step(to, { engine: await engineOf(workers) });
      results.push(await contentOf(to));
    }
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
    expect(await contentOf(from)).toEqual(before);
  });

  it('reports its progress', async () => {
    const seen: number[] = [];
    await step(join(dir, 'progress'), {}, { onProgress: ({ done }: { done: number }) => seen.push(done) });
    expect(seen).toEqual([1, 2, 3, 4]);
  });

  it('leaves nothing when cancelled, at whatever tensor', async () => {
    const listing = (await readdir(dir)).sort();
    for (const at of [1, 2, 3]) {
      const control = new AbortController();
      const onProgress = ({ done }: { done: number }) => {
        if (done === at) control.abort(new Error('stop'));
      };
      await expect(step(join(dir, 'cancelled'), {}, { signal: control.signal, onProgress })).rejects.toThrow('stop');
    }
    await expect(step(join(dir, 'cancelled'), {}, { signal: AbortSignal.abort(new Error('before')) })).rejects.toThrow(
      'before',
    );
    expect((await readdir(dir)).sort()).toEqual(listing);
  });

  it('leaves nothing when the update cannot be read', async () => {
    const listing = (await readdir(dir)).sort();
    const broken: TaskVector = {
      async read(index, out) {
        if (index === 2) throw new Error('disk gone');
        return update(3).read(index, out);
      },
    };
    await expect(step(join(dir, 'unread'), { update: broken, engine: await engineOf(2) })).rejects.toThrow('disk gone');
    expect((await readdir(dir)).sort()).toEqual(listing);
  });

  it.each([
    ['a', Number.NaN],
    ['b', Number.POSITIVE_INFINITY],
  ])('stops at a value in tensor %s that is %s', async (tensor, bad) => {
    const poisoned: TaskVector = {
      async read(index, out) {
        await update(3).read(index, out);
        if (tensors[index]!.name === tensor) out[3] = bad;
        return true;
      },
    };
    for (const state of [from, null]) {
      await expect(step(join(dir, 'poisoned'), { from: state, update: poisoned })).rejects.toMatchObject({
        code: 'NON_FINITE',
        fields: { tensor },
      });
    }
    expect(await readdir(dir)).not.toContain('poisoned');
  });

  it('refuses a target that exists', async () => {
    await mkdir(join(dir, 'there'));
    await expect(step(join(dir, 'there'))).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
  });

  it('refuses tensors, rules and norms that do not make sense', async () => {
    const to = join(dir, 'refused');
    const wrong: Partial<Parameters<typeof foldStep>[0]>[] = [
      { tensors: [...tensors, tensors[0]!] },
      { tensors: [{ name: 'a', shape: [2, 2, 2], linear: true }] },
      { tensors: [{ name: 'a', shape: [-1], linear: false }] },
      { rule: { variant: 'ref', alpha: -1 } },
      { rule: { variant: 'ref', alpha: Number.POSITIVE_INFINITY } },
      { rule: { variant: 'block' as 'ref', alpha: 0.5 } },
      { update: { norm: Number.NaN, read: update(1).read } },
    ];
    for (const more of wrong) {
      await expect(step(to, { from: null, ...more })).rejects.toMatchObject({ code: 'BAD_INPUT' });
    }
  });

  it('refuses a state of other tensors or of another rule', async () => {
    const to = join(dir, 'mismatch');
    const relabelled = tensors.map((tensor) => ({ ...tensor, linear: false }));
    await expect(step(to, { tensors: relabelled })).rejects.toMatchObject({ code: 'STATE_MISMATCH' });
    await expect(step(to, { tensors: tensors.slice(1) })).rejects.toMatchObject({ code: 'STATE_MISMATCH' });
    await expect(step(to, { rule: { variant: 'lite', alpha: 0.5 } })).rejects.toMatchObject({ code: 'STATE_MISMATCH' });
    await expect(step(to, { rule: { variant: 'ref', alpha: 0.4 } })).rejects.toMatchObject({ code: 'STATE_MISMATCH' });
  });
});

describe('a damaged state', () => {
  const damaged = async (name: string, damage: (path: string) => Promise<unknown>) => {
    const path = join(dir, `damaged-${name}`);
    await cp(from, path, { recursive: true });
    await damage(path);
    return path;
  };
  const edited = (edit: (json: Record<string, unknown>) => unknown) => async (path: string) => {
    const json = JSON.parse(await readFile(join(path, STATE_FILE), 'utf8'));
    edit(json);
    await writeFile(join(path, STATE_FILE), JSON.stringify(json));
  };
  const flipByte = (file: string, fromEnd: number) => async (path: string) => {
    const bytes = await readFile(join(path, file));
    bytes[bytes.length - fromEnd]! ^= 1;
    await writeFile(join(path, file), bytes);
  };

  it.each<[string, (path: string) => Promise<unknown>]>([
    ['no-sum', (path) => rm(join(path, SUM_FILE))],
    ['cut-sum', (path) => truncate(join(path, SUM_FILE), 1000)],
    ['empty-sum', (path) => truncate(join(path, SUM_FILE), 0)],
    ['flipped-sum', flipByte(SUM_FILE, 5)],
    ['huge-json', (path) => truncate(join(path, STATE_FILE), STATE_JSON_MAX + 1)],
    ['cut-json', (path) => truncate(join(path, STATE_FILE), 100)],
    ['empty-json', (path) => truncate(join(path, STATE_FILE), 0)],
    ['null-json', (path) => writeFile(join(path, STATE_FILE), 'null')],
    ['steps', edited((json) => Object.assign(json, { steps: 7 }))],
    ['extra-key', edited((json) => Object.assign(json, { more: 1 }))],
    ['fewer-tensors', edited((json) => void (json.tensors as unknown[]).pop())],
  ])('is noticed and coded: %s', async (name, damage) => {
    const path = await damaged(name, damage);
    const to = join(dir, `after-${name}`);
    await expect(step(to, { from: path })).rejects.toMatchObject({ code: 'STATE_CORRUPT' });
    expect(await readdir(dir)).not.toContain(`after-${name}`);
  });

  it('is told from one that is not there, and from one of another version', async () => {
    await expect(openState(join(dir, 'nowhere'))).rejects.toMatchObject({ code: 'STATE_MISSING' });
    const unreadable = await damaged('directory', (path) =>
      rm(join(path, STATE_FILE)).then(() => mkdir(join(path, STATE_FILE))),
    );
    await expect(openState(unreadable)).rejects.toMatchObject({ code: 'STATE_UNREADABLE' });
    const newer = await damaged(
      'version',
      edited((json) => Object.assign(json, { version: STATE_VERSION + 1 })),
    );
    await expect(openState(newer)).rejects.toMatchObject({ code: 'STATE_VERSION' });
  });

  it('does not count an intact one as damaged', async () => {
    expect((await readSum(from)).size).toBe(tensors.length);
  });
});

it('a process killed in the middle of a step leaves the state before it usable and no half state', async () => {
  const base = await checkpointOf(fixture('vision8/base.safetensors'));
  const { foldTensors, openTaskVector } = await import('../../../src/merge/index.ts');
  const weights = foldTensors(base, null);
  const first = await openTaskVector(fixture('vision8/expert-mnist.safetensors'), base, weights);
  const home = await scratch();
  const { state } = await foldAll(home, weights, [first], engine);
  await first.close();
  const before = await contentOf(state);

  const model = fixture('vision8/base.safetensors');
  await foldAndKill([state, join(home, 'next'), model, fixture('vision8/expert-kmnist.safetensors')], 9);
  expect(await readdir(home)).not.toContain('next');
  expect(await contentOf(state)).toEqual(before);

  const second = await openTaskVector(fixture('vision8/expert-kmnist.safetensors'), base, weights);
  const summary = await foldStep({
    from: state,
    to: join(home, 'next'),
    tensors: weights,
    update: second,
    rule: ref,
    engine,
  });
  await second.close();
  expect(summary.steps).toBe(2);
  expect(await readdir(home)).toEqual(['1', 'next']);
});
