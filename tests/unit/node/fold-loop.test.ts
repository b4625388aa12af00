import { mkdir, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CID } from 'multiformats/cid';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type FoldedCheckpoint, FoldLoop, type FoldTarget, KEPT_CHECKPOINTS } from '../../../node/core/fold-loop.ts';
import { DEFAULT_FOLD_STATES } from '../../../node/core/limits.ts';
import { BlobStore } from '../../../node/stores/blob-store.ts';
import type { MergeCalls } from '../../../node/work/merge-calls.ts';
import { WorkerThread } from '../../../node/work/rpc.ts';
import { openCheckpoint } from '../../../src/tensors/index.ts';
import { testId, testKey } from '../log/helpers.ts';
import { eventually, makePond, type Pond, payloadOf, silent, type Update, updateOf } from './support.ts';

interface Scene {
  readonly pond: Pond;
  readonly blobs: BlobStore;
  readonly made: Update[];
  readonly steps: [done: number, total: number][];
  readonly finished: FoldedCheckpoint[];
  readonly problems: ({ code: string; message: string } | null)[];
  readonly loop: FoldLoop;
  readonly worker: WorkerThread<MergeCalls>;
  /** A loop over the same home, as after a restart. */
  again(): Promise<FoldLoop>;
}

async function scene(count: number): Promise<Scene> {
  const pond = await makePond();
  const { home } = pond;
  const blobs = new BlobStore({ directory: home.blobs });
  await blobs.open();
  const made: Update[] = [];
  for (let i = 0; i < count; i++) {
    const update = await updateOf(pond, testKey(i), payloadOf(pond, i));
    await blobs.put(update.manifest.id, update.payload);
    made.push(update);
  }
  const worker = new WorkerThread<MergeCalls>(new URL('../../../node/work/merge-worker.ts', import.meta.url), {
    charter: home.charter,
    engine: { device: 'cpu', workers: 1 },
  });
  const steps: Scene['steps'] = [];
  const finished: FoldedCheckpoint[] = [];
  const problems: Scene['problems'] = [];
  const again = async () => {
    const loop = new FoldLoop(
      {
        rule: Uint8Array.of(1),
        base: pond.base,
        scale: 1,
        community: 'pond',
        foldDirectory: home.fold,
        checkpointDirectory: home.checkpoints,
      },
      {
        worker,
        files: blobs,
        logger: silent,
        listener: {
          onStep: (done, total) => steps.push([done, total]),
          offer: async () => testId(0),
          onCheckpoint: (checkpoint) => {
            finished.push(checkpoint);
          },
          onProblem: (problem) => problems.push(problem),
        },
      },
    );
    await loop.start();
    return loop;
  };
  const loop = await again();
  onTestFinished(async () => {
    await loop.stop();
    await worker.close();
  });
  return { pond, blobs, made, steps, finished, problems, loop, worker, again };
}

function target(recipe: number, made: readonly Update[]): FoldTarget {
  return {
    recipe: testId(recipe),
    updates: made.map(({ signed, manifest }) => ({ id: signed.id.toString(), payload: manifest.id })),
  };
}

const reached = ({ finished }: Scene, recipe: CID) =>
  eventually(() => expect(finished.at(-1)?.recipe).toBe(recipe.toString()));

async function weights(path: string): Promise<Buffer> {
  const checkpoint = await openCheckpoint(path);
  try {
    const parts = [];
    for (const name of checkpoint.tensors.keys()) parts.push(await checkpoint.readRaw(name));
    return Buffer.concat(parts);
  } finally {
    await checkpoint.close();
  }
}

describe('the fold loop', () => {
  test('makes the checkpoint of a recipe, and the base for a recipe of no updates', async () => {
    const at = await scene(2);
    at.loop.aim({ sealed: null, newest: target(0, []) });
    await reached(at, testId(0));
    expect(await weights(at.finished.at(-1)!.path)).toEqual(await weights(at.pond.base));
    at.loop.aim({ sealed: null, newest: target(1, at.made) });
    await reached(at, testId(1));
    expect(at.loop.checkpoint).toEqual({
      recipe: testId(1).toString(),
      path: join(at.pond.home.checkpoints, testId(1).toString()),
    });
    expect(at.steps.slice(-3)).toEqual([
      [0, 2],
      [1, 2],
      [2, 2],
    ]);
    expect(await weights(at.loop.checkpoint!.path)).not.toEqual(await weights(at.pond.base));
  });

  test('targets that come meanwhile coalesce into the newest', async () => {
    const at = await scene(3);
    for (let i = 1; i <= 3; i++) at.loop.aim({ sealed: null, newest: target(i, at.made.slice(0, i)) });
    for (let i = 10; i < 40; i++) at.loop.aim({ sealed: null, newest: target(i, at.made.slice(0, 2)) });
    at.loop.aim({ sealed: null, newest: target(40, at.made) });
    await reached(at, testId(40));
    expect(at.finished.map(({ recipe }) => recipe)).toEqual([testId(40).toString()]);
    expect(at.steps.filter(([done, total]) => done === total)).toHaveLength(1);
  });

  test('a late update that lands before the end starts from the longest kept prefix, and gives the same weights', async () => {
    const at = await scene(6);
    const straight = [0, 1, 2, 3, 5, 4].map((i) => at.made[i]!);
    at.loop.aim({ sealed: null, newest: target(1, at.made.slice(0, 5)) });
    await reached(at, testId(1));
    at.steps.length = 0;
    at.loop.aim({ sealed: null, newest: target(2, straight) });
    await reached(at, testId(2));
    expect(at.steps[0]).toEqual([4, 6]);
    const quick = await weights(at.loop.checkpoint!.path);

    const fresh = await scene(6);
    fresh.loop.aim({ sealed: null, newest: target(2, straight) });
    await reached(fresh, testId(2));
    expect(fresh.steps[0]).toEqual([0, 6]);
    expect(await weights(fresh.loop.checkpoint!.path)).toEqual(quick);
  });

  test('a recipe that comes back while another is folded is up to date at once, and says so', async () => {
    const at = await scene(4);
    const before = target(1, at.made.slice(0, 1));
    at.loop.aim({ sealed: null, newest: before });
    await reached(at, before.recipe);
    at.loop.aim({ sealed: null, newest: target(2, at.made) });
    await eventually(() => expect(at.steps.at(-1)![1]).toBe(4));
    at.loop.aim({ sealed: null, newest: before });
    await eventually(() => expect(at.steps.at(-1)![0]).toBe(at.steps.at(-1)![1]));
    expect(at.loop.checkpoint?.recipe).toBe(before.recipe.toString());
  });

  test('a recipe that comes back is the newest again, whatever was made since', async () => {
    const at = await scene(2);
    const sealed = target(1, at.made.slice(0, 1));
    const tail = target(2, at.made);
    at.loop.aim({ sealed, newest: sealed });
    await reached(at, sealed.recipe);
    at.loop.aim({ sealed, newest: tail });
    await reached(at, tail.recipe);
    at.loop.aim({ sealed, newest: sealed });
    expect(at.loop.checkpoint?.recipe).toBe(sealed.recipe.toString());
  });

  test('keeps a bounded number of states and checkpoints', async () => {
    const at = await scene(7);
    for (let i = 1; i <= 7; i++) {
      at.loop.aim({ sealed: null, newest: target(i, at.made.slice(0, i)) });
      await reached(at, testId(i));
      await eventually(async () => {
        expect((await readdir(at.pond.home.checkpoints)).length).toBeLessThanOrEqual(KEPT_CHECKPOINTS);
      });
      expect((await readdir(at.pond.home.fold)).length).toBeLessThanOrEqual(DEFAULT_FOLD_STATES);
    }
    expect(await readdir(at.pond.home.checkpoints)).toContain(testId(7).toString());
  });

  test('goes on after a restart from what was folded', async () => {
    const at = await scene(3);
    at.loop.aim({ sealed: null, newest: target(1, at.made.slice(0, 2)) });
    await reached(at, testId(1));
    await at.loop.stop();
    at.steps.length = 0;
    const next = await at.again();
    onTestFinished(() => next.stop());
    next.aim({ sealed: null, newest: target(2, at.made) });
    await reached(at, testId(2));
    expect(at.steps).toEqual([
      [2, 3],
      [3, 3],
    ]);
  });

  test('says why it stands still, tries again, and says when the trouble is over', async () => {
    const at = await scene(1);
    const file = at.blobs.path(at.made[0]!.manifest.id);
    await rename(file, `${file}.away`);
    at.loop.aim({ sealed: null, newest: target(1, at.made) });
    await eventually(() => expect(at.problems).toHaveLength(1));
    expect(at.problems[0]).toMatchObject({ code: expect.any(String), message: expect.stringMatching(/./) });
    expect(at.finished).toEqual([]);
    await rename(`${file}.away`, file);
    await reached(at, testId(1));
    await eventually(() => expect(at.problems.at(-1)).toBeNull());
  });

  test('asking for the same recipe again does not restart its export', async () => {
    const at = await scene(1);
    // At every turn of the event loop: a burst of declined updates asks for the same recipe each time.
    const asking = setInterval(() => at.loop.aim({ sealed: null, newest: target(1, at.made) }), 1);
    onTestFinished(() => clearInterval(asking));
    await reached(at, testId(1));
    expect(at.finished).toHaveLength(1);
    expect(at.problems.filter((problem) => problem !== null)).toEqual([]);
  });

  test('trouble with the checkpoint does not cost the folded states', async () => {
    const at = await scene(2);
    const { home } = at.pond;
    await rm(home.checkpoints, { recursive: true });
    await writeFile(home.checkpoints, 'in the way');
    at.loop.aim({ sealed: null, newest: target(1, at.made) });
    await eventually(() => expect(at.problems.length).toBeGreaterThanOrEqual(2));
    expect(await readdir(home.fold)).toHaveLength(2);
    await rm(home.checkpoints);
    await mkdir(home.checkpoints);
    await reached(at, testId(1));
    expect(at.steps.filter(([done]) => done === 0)).toHaveLength(1);
  });

  test('a damaged state is folded again from the start', async () => {
    const at = await scene(2);
    at.loop.aim({ sealed: null, newest: target(1, at.made.slice(0, 1)) });
    await reached(at, testId(1));
    const [state] = await readdir(at.pond.home.fold);
    const damaged = join(at.pond.home.fold, state!);
    for (const name of await readdir(damaged)) {
      if (name.endsWith('.safetensors')) await truncate(join(damaged, name), 100);
    }
    at.loop.aim({ sealed: null, newest: target(2, at.made) });
    await reached(at, testId(2));
    expect(at.problems.filter((problem) => problem !== null).length).toBeGreaterThan(0);
    expect(at.steps.at(-1)).toEqual([2, 2]);
    expect((await readFile(join(at.loop.checkpoint!.path, 'model.safetensors'))).length).toBeGreaterThan(1000);
  });

  test('a new target does not wait for the retry of an old one', async () => {
    const at = await scene(2);
    const file = at.blobs.path(at.made[1]!.manifest.id);
    await rename(file, `${file}.away`);
    at.loop.aim({ sealed: null, newest: target(1, at.made.slice(1)) });
    await eventually(() => expect(at.problems.length).toBeGreaterThan(0));
    const start = performance.now();
    at.loop.aim({ sealed: null, newest: target(2, at.made.slice(0, 1)) });
    await reached(at, testId(2));
    expect(performance.now() - start).toBeLessThan(10_000);
  });

  test('stopping in the middle of a fold leaves nothing running and nothing half-written', async () => {
    const at = await scene(5);
    at.loop.aim({ sealed: null, newest: target(1, at.made) });
    await eventually(() => expect(at.steps.length).toBeGreaterThan(1));
    await at.loop.stop();
    const { length } = at.steps;
    await at.worker.close();
    const left = await readdir(at.pond.home.fold);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(at.steps).toHaveLength(length);
    expect(at.finished).toEqual([]);
    expect(await readdir(at.pond.home.fold)).toEqual(left);
    at.loop.aim({ sealed: null, newest: target(2, []) });
    await at.loop.stop();
    expect(at.finished).toEqual([]);
  });
});
