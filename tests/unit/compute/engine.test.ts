import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { Buffers } from '../../../src/compute/buffers.ts';
import { CpuDevice } from '../../../src/compute/cpu/cpu-device.ts';
import { CRASHES_MAX, createCpuEngine } from '../../../src/compute/cpu/cpu-engine.ts';
import { describeEigensolver, openEigensolver } from '../../../src/compute/eigen/index.ts';
import {
  createEngine,
  type MatrixEngine,
  type ProjectionJob,
  SHORT_SIDE_MAX,
  WORKERS_MAX,
} from '../../../src/compute/index.ts';
import type { Pace } from '../../../src/compute/pace.ts';
import { checkInnerProduct, project } from '../../../src/compute/projection/projection.ts';
import type { OpcmRule } from '../../../src/merge/opcm.ts';
import { gaussian32 } from './random.ts';

const ref: OpcmRule = { variant: 'ref', alpha: 0.5 };

function job(rows: number, columns: number, seed = 1, rule = ref): ProjectionJob {
  return { sum: gaussian32(rows * columns, seed), update: gaussian32(rows * columns, seed + 100), rows, columns, rule };
}

const engines: MatrixEngine[] = [];
async function freshEngine(): Promise<MatrixEngine> {
  const opened = await createEngine({ device: 'cpu', workers: 1 });
  engines.push(opened);
  return opened;
}
/** One engine for all tests that leave it as they found it: a thread takes a third of a second to start. */
let common: Promise<MatrixEngine> | undefined;
function engine(): Promise<MatrixEngine> {
  common ??= freshEngine();
  return common;
}
afterAll(() => Promise.all(engines.map((opened) => opened.close())));

describe('choosing a device', () => {
  it('names the devices when one is unknown', async () => {
    await expect(createEngine({ device: 'tpu' as 'cpu' })).rejects.toMatchObject({
      code: 'DEVICE_UNAVAILABLE',
      message: expect.stringContaining('auto, cpu'),
    });
  });

  it.each([0, -1, 1.5, WORKERS_MAX + 1])('refuses %s workers', async (workers) => {
    await expect(createEngine({ workers })).rejects.toMatchObject({ code: 'BAD_JOB' });
  });
});

describe('a projection', () => {
  it('leaves an update orthogonal to the sum, and the squares add up', async () => {
    const result = await (await engine()).project(job(24, 40));
    const scale = Math.sqrt(result.squares.sum * result.squares.update);
    expect(Math.abs(result.innerProduct)).toBeLessThan(1e-13 * scale);
    expect(result.sumSquares / (result.squares.sum + result.squares.projected)).toBeCloseTo(1, 6);
    expect(result.rank).toBe(24);
  });

  it('gives a tall matrix the transpose of what its transpose gets', async () => {
    const opened = await engine();
    const wide = job(12, 30);
    const tall: ProjectionJob = {
      ...wide,
      sum: flip(wide.sum, 12, 30),
      update: flip(wide.update, 12, 30),
      rows: 30,
      columns: 12,
    };
    const a = await opened.project(wide);
    const b = await opened.project(tall);
    expect(b.splitRank).toBe(a.splitRank);
    const back = flip(b.sum, 30, 12);
    expect(Math.max(...back.map((x, i) => Math.abs(x - a.sum[i]!)))).toBeLessThan(1e-6);
  });

  it.each(['ref', 'lite'] as const)('of %s is the same whatever the slices, up to rounding', async (variant) => {
    const buffers = new Buffers();
    const eigensolver = openEigensolver();
    let pauses = 0;
    const pace: Pace = {
      async pause() {
        pauses++;
      },
      interruptible: (work) => work(),
    };
    const run = async (rows: number, columns: number, sliceProducts?: number) => {
      const device = new CpuDevice({ ...(sliceProducts && { sliceProducts }) }, { buffers });
      pauses = 0;
      const rule = { variant, alpha: 0.5 };
      const { sum } = await project(job(rows, columns, 1, rule), { device, buffers, eigensolver, pace });
      return { sum, pauses };
    };
    for (const [rows, columns] of [
      [10, 33],
      [33, 10],
    ] as const) {
      const whole = await run(rows, columns);
      const sliced = await run(rows, columns, 100);
      expect(Math.max(...sliced.sum.map((x, i) => Math.abs(x - whole.sum[i]!)))).toBeLessThan(1e-6);
      expect(sliced.pauses).toBeGreaterThan(2 * whole.pauses);
    }
  });

  it('takes an empty sum and an empty update', async () => {
    const opened = await engine();
    const { update, ...rest } = job(3, 4);
    const expected = [...update];
    const first = await opened.project({ ...rest, update, sum: new Float32Array(12) });
    expect([...first.sum]).toEqual(expected);
    const same = job(3, 4);
    const kept = [...same.sum];
    expect([...(await opened.project({ ...same, update: new Float32Array(12) })).sum]).toEqual(kept);
  });

  it.each([
    ['sum', Number.NaN],
    ['update', Number.POSITIVE_INFINITY],
  ] as const)('stops at a non-finite value in the %s', async (which, bad) => {
    const given = job(3, 4);
    given[which][5] = bad;
    await expect((await engine()).project(given)).rejects.toMatchObject({ code: 'NON_FINITE' });
  });

  it('stops when the new sum leaves float32', async () => {
    const given = job(2, 3);
    given.sum.fill(3e38);
    given.update.set([3e38, -1e38, 3e38, -3e38, 3e38, 3e38]);
    await expect((await engine()).project({ ...given, rule: { variant: 'ref', alpha: 0 } })).rejects.toMatchObject({
      code: 'NON_FINITE',
    });
  });

  it('refuses jobs that do not fit together', async () => {
    const opened = await engine();
    const shared = new Float32Array(12);
    const bad: ProjectionJob[] = [
      { ...job(3, 4), rows: 0 },
      { ...job(3, 4), rows: SHORT_SIDE_MAX + 1, columns: SHORT_SIDE_MAX + 1 },
      { ...job(3, 4), columns: 5 },
      { ...job(3, 4), sum: shared, update: shared },
      { ...job(3, 4), rule: { variant: 'ref', alpha: -0.1 } },
      { ...job(3, 4), rule: { variant: 'ref', alpha: Number.NaN } },
      { ...job(3, 4), rule: { variant: 'strict' as 'ref', alpha: 0.5 } },
    ];
    for (const given of bad) await expect(opened.project(given)).rejects.toMatchObject({ code: 'BAD_JOB' });
  });

  it('notices a product that is not orthogonal to the sum', () => {
    expect(() => checkInnerProduct(2e-5, 0, 1)).toThrow(expect.objectContaining({ code: 'INVARIANT_BROKEN' }));
    expect(() => checkInnerProduct(0.9e-5, 0, 1)).not.toThrow();
    expect(() => checkInnerProduct(Number.NaN, 0, 1)).toThrow();
  });
});

describe('the cpu engine', () => {
  it('works beside the caller, whose event loop stays free', async () => {
    const opened = await engine();
    let ticks = 0;
    const timer = setInterval(() => ticks++, 5);
    await opened.project(job(200, 400));
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(2);
  });

  it('refuses buffers that were given away or are shared, and goes on', async () => {
    const opened = await engine();
    const given = job(50, 50);
    const first = opened.project(given);
    const behind = opened.project(job(50, 50));
    await expect(opened.project(given)).rejects.toMatchObject({ code: 'BAD_JOB' });
    const twice = job(4, 4);
    const queued = [opened.project(twice), opened.project(twice), opened.project(job(4, 4))];
    expect((await queued[0]!).rank).toBe(4);
    await expect(queued[1]).rejects.toMatchObject({ code: 'BAD_JOB' });
    expect((await queued[2]!).rank).toBe(4);
    const shared = new Float32Array(new SharedArrayBuffer(64)) as unknown as Float32Array<ArrayBuffer>;
    await expect(opened.project({ ...job(4, 4), sum: shared })).rejects.toMatchObject({ code: 'BAD_JOB' });
    expect((await first).rank).toBe(50);
    expect((await behind).rank).toBe(50);
    expect((await opened.project(job(4, 4))).rank).toBe(4);
  });

  it('stops for an abort at once, also when queued, and takes new jobs after', async () => {
    const opened = await engine();
    const control = new AbortController();
    const running = opened.project(job(200, 400), { signal: control.signal });
    const queued = opened.project(job(200, 400), { signal: control.signal });
    control.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
    await expect(queued).rejects.toThrow('enough');
    await expect(opened.project(job(4, 4), { signal: control.signal })).rejects.toThrow('enough');
    expect((await opened.project(job(4, 4))).rank).toBe(4);
  });

  it('fails what is under way when closed, and takes nothing after', async () => {
    const opened = await freshEngine();
    const running = opened.project(job(200, 400));
    const queued = opened.project(job(4, 4));
    const closing = opened.close();
    await expect(running).rejects.toMatchObject({ code: 'ENGINE_CLOSED' });
    await expect(queued).rejects.toMatchObject({ code: 'ENGINE_CLOSED' });
    await closing;
    await opened.close();
    await expect(opened.project(job(4, 4))).rejects.toMatchObject({ code: 'ENGINE_CLOSED' });
  });

  it('takes the thread away from a cancelled job that stays in its eigenproblem, which is no crash', async () => {
    const opened = createCpuEngine({
      workers: 1,
      eigensolver: describeEigensolver(),
      chosen: 'for a test',
      stopGraceMs: 50,
    });
    engines.push(opened);
    await opened.project(job(4, 4));
    for (let i = 0; i < CRASHES_MAX + 1; i++) {
      const control = new AbortController();
      // The Gram matrix of this size takes half a second, the eigenproblem several.
      const sum = new Float32Array(2600 * 2600).map((_, at) => Math.sin(at));
      const running = opened.project(
        { sum, update: sum.slice(), rows: 2600, columns: 2600, rule: ref },
        { signal: control.signal },
      );
      await sleep(1_500);
      control.abort(new Error('enough'));
      await expect(running).rejects.toThrow('enough');
      const started = performance.now();
      expect((await opened.project(job(4, 4))).rank).toBe(4);
      expect(performance.now() - started).toBeLessThan(8_000);
    }
  });

  it.each([0, 150, 400])('lets a process exit in the middle of a product with its own code (%s ms in)', async (ms) => {
    const script = fileURLToPath(new URL('./exiting-process.ts', import.meta.url));
    const child = spawn(process.execPath, [script, String(ms)], { stdio: ['ignore', 'inherit', 'pipe'] });
    const [code, signal] = await once(child, 'exit');
    expect([code, signal]).toEqual([7, null]);
  });

  it('starts a fresh thread after one died, and gives up when threads die in a row', async () => {
    const workerUrl = new URL('./crashing-worker.ts', import.meta.url);
    const opened = createCpuEngine({ workers: 1, eigensolver: describeEigensolver(), chosen: 'for a test', workerUrl });
    engines.push(opened);
    await expect(opened.project(job(1, 4))).rejects.toMatchObject({ code: 'WORKER_CRASHED' });
    expect((await opened.project(job(4, 4))).rank).toBe(4);
    await expect(opened.project(job(1, 4))).rejects.toMatchObject({ code: 'WORKER_CRASHED' });
    const last = opened.project(job(1, 4));
    const waiting = opened.project(job(4, 4));
    await expect(last).rejects.toMatchObject({ code: 'WORKER_CRASHED' });
    await expect(waiting).rejects.toMatchObject({ code: 'ENGINE_FAILED' });
    await expect(opened.project(job(4, 4))).rejects.toMatchObject({ code: 'ENGINE_FAILED' });
  });
});

function flip(matrix: Float32Array, rows: number, columns: number): Float32Array<ArrayBuffer> {
  return Float32Array.from(matrix, (_, i) => matrix[(i % rows) * columns + Math.floor(i / rows)]!);
}
