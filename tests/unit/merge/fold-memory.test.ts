import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { MatrixEngine } from '../../../src/compute/index.ts';
import { type FoldTensor, foldStep, STATE_FILE, SUM_FILE } from '../../../src/merge/index.ts';
import { foldBytes } from '../../../src/merge/memory.ts';
import { gaussian32 } from '../compute/random.ts';
import { engineOf, foldAll, ref, scratch, taskVector } from './helpers.ts';

const tensors: FoldTensor[] = [
  [64, 200],
  [96, 96],
  [200, 64],
  [40, 40],
  [96, 120],
  [64, 64],
].map((shape, i) => ({ name: `t${i}`, shape, linear: true }));
const update = (seed: number) =>
  taskVector(
    tensors,
    Object.fromEntries(
      tensors.map(({ name, shape }, i) => [name, gaussian32(shape[0]! * shape[1]!, 10 * seed + i, 0.01)]),
    ),
  );
const bytesOf = (rows: number, columns: number) => foldBytes({ name: '', shape: [rows, columns], linear: true });
const largest = Math.max(...tensors.map(foldBytes));

/** What an engine has had under way at the same time, at most: jobs, and their bytes where there were several. */
function watched(engine: MatrixEngine): MatrixEngine & { most: { jobs: number; together: number } } {
  const most = { jobs: 0, together: 0 };
  const running: number[] = [];
  return {
    most,
    device: engine.device,
    description: engine.description,
    workers: engine.workers,
    eigensolver: engine.eigensolver,
    close: () => engine.close(),
    async project(job, options) {
      const bytes = bytesOf(job.rows, job.columns);
      running.push(bytes);
      most.jobs = Math.max(most.jobs, running.length);
      if (running.length > 1)
        most.together = Math.max(
          most.together,
          running.reduce((a, b) => a + b),
        );
      try {
        return await engine.project(job, options);
      } finally {
        running.splice(running.indexOf(bytes), 1);
      }
    },
  };
}

let dir: string;
let from: string;
let expected: readonly Buffer[];
const contentOf = async (state: string) =>
  Promise.all([SUM_FILE, STATE_FILE].map((file) => readFile(join(state, file))));
beforeAll(async () => {
  dir = await scratch();
  const engine = await engineOf(1);
  from = (await foldAll(dir, tensors, [update(1)], engine)).state;
  const to = join(dir, 'expected');
  await foldStep({ from, to, tensors, update: update(2), rule: ref, engine });
  expected = await contentOf(to);
});

describe('a fold with several workers', () => {
  it.each([1, 2, 3])(
    'writes the same bytes with %d of them, which it uses where the memory allows',
    async (workers) => {
      const engine = watched(await engineOf(workers));
      const to = join(dir, `workers-${workers}`);
      await foldStep({ from, to, tensors, update: update(2), rule: ref, engine, memory: 100 * largest });
      expect(await contentOf(to)).toEqual(expected);
      // One waits while the workers work.
      expect(engine.most.jobs).toBe(workers + 1);
    },
  );

  it.each<[string, number, number]>([
    ['no memory at all', 1, 1],
    ['memory for the largest matrix', largest, 1],
    ['memory for two of them', 2 * largest, 2],
  ])('keeps to %s, and writes the same bytes', async (name, memory, least) => {
    const engine = watched(await engineOf(3));
    const to = join(dir, name);
    await foldStep({ from, to, tensors, update: update(2), rule: ref, engine, memory });
    expect(await contentOf(to)).toEqual(expected);
    expect(engine.most.together).toBeLessThanOrEqual(memory);
    expect(engine.most.jobs).toBeGreaterThanOrEqual(least);
    if (memory < 2 * Math.min(...tensors.map(foldBytes))) expect(engine.most.jobs).toBe(1);
  });
});
