import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, inject, it } from 'vitest';
import { createCpuEngine } from '../../../src/compute/cpu/cpu-engine.ts';
import { describeEigensolver } from '../../../src/compute/eigen/index.ts';
import {
  createEngine,
  type MatrixEngine,
  type ProjectionJob,
  type ProjectionResult,
} from '../../../src/compute/index.ts';
import { DeviceProcess } from '../../../src/compute/provider/device-process.ts';
import { ProviderEngine } from '../../../src/compute/provider/provider-engine.ts';
import { checkAskedDevice } from '../../../src/merge/index.ts';
import type { OpcmVariant } from '../../../src/merge/opcm.ts';
import { gaussian32, randomOrthogonal } from './random.ts';

function job(rows: number, columns: number, variant: OpcmVariant = 'ref'): ProjectionJob {
  const rule = { variant, alpha: 0.5 };
  return { sum: gaussian32(rows * columns, 1), update: gaussian32(rows * columns, 2), rows, columns, rule };
}

const engines: MatrixEngine[] = [];
afterEach(() => Promise.all(engines.splice(0).map((engine) => engine.close())));

async function onCpu(given: ProjectionJob): Promise<ProjectionResult> {
  const engine = await createEngine({ device: 'cpu', workers: 1 });
  engines.push(engine);
  return engine.project(given);
}

/** An engine whose process dies on matrices of one row and fails on those of two. */
function failing() {
  const moduleUrl = new URL('./device-test-child.ts', import.meta.url);
  const process = new DeviceProcess({ provider: 'webgpu', moduleUrl });
  const cpu = createCpuEngine({ workers: 2, eigensolver: describeEigensolver(), chosen: 'for a test' });
  const notices: string[] = [];
  const onNotice = (notice: string): void => {
    notices.push(notice);
  };
  const engine = new ProviderEngine({ provider: 'webgpu', chosen: 'for a test' }, { cpu, process, onNotice });
  engines.push(engine);
  return { engine, process, notices };
}

/** |C - expected C| / |expected C|, C being what was added to the sum. */
function difference(found: ProjectionResult, expected: ProjectionResult, before: Float32Array): number {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < before.length; i++) {
    difference += (found.sum[i]! - expected.sum[i]!) ** 2;
    norm += (expected.sum[i]! - before[i]!) ** 2;
  }
  return Math.sqrt(difference / norm);
}

function productDevices({ phases }: ProjectionResult): string[] {
  return phases.filter(({ name }) => name === 'products').map(({ device }) => device);
}

describe.skipIf(!inject('webgpu'))('the webgpu engine', () => {
  it.each([
    [24, 40, 'ref'],
    [24, 40, 'lite'],
    [130, 60, 'ref'],
    [130, 60, 'lite'],
    [1, 50, 'ref'],
    [50, 1, 'lite'],
  ] as const)(
    'adds what the cpu adds, with the products on the device: %s x %s, %s',
    async (rows, columns, variant) => {
      const engine = await createEngine({ device: 'webgpu', workers: 1 });
      engines.push(engine);
      expect(engine.device).toBe('webgpu');
      const given = job(rows, columns, variant);
      const { sum, update } = given;
      const before = sum.slice();
      const expected = await onCpu(job(rows, columns, variant));
      const found = await engine.project(given);
      expect(difference(found, expected, before)).toBeLessThan(1e-6);
      const { splitRank, rank, nuclearNorm, sigmaMax } = expected;
      expect(found).toMatchObject({ splitRank, rank, nuclearNorm, sigmaMax });
      expect(found.squares.projected / expected.squares.projected).toBeCloseTo(1, 4);
      expect([found.sum.length, found.update.length]).toEqual([rows * columns, rows * columns]);
      expect([sum.length, update.length]).toEqual([0, 0]);
      expect(new Set(productDevices(found))).toEqual(new Set(['webgpu']));
      expect(() => checkAskedDevice('webgpu', found.phases)).not.toThrow();
    },
  );

  it.each(['ref', 'lite'] as const)(
    'loses nothing to a sum whose directions are of very different size (%s)',
    async (variant) => {
      const make = () => {
        const given = job(30, 50, variant);
        // Rows that shrink with 1.3^-i, turned: singular values from 1 to some 1e-4 of the largest.
        const turn = randomOrthogonal(30, 5);
        const rows = given.sum.map((x, at) => x * 1.3 ** -Math.floor(at / 50));
        given.sum.forEach((_, at) => {
          let entry = 0;
          for (let i = 0; i < 30; i++) entry += turn[Math.floor(at / 50) * 30 + i]! * rows[i * 50 + (at % 50)]!;
          given.sum[at] = entry;
        });
        return given;
      };
      const engine = await createEngine({ device: 'webgpu', workers: 1 });
      engines.push(engine);
      const [found, expected] = [await engine.project(make()), await onCpu(make())];
      expect(difference(found, expected, make().sum)).toBeLessThan(1e-6);
    },
  );

  it('takes an empty sum, and updates far from 1 in size', async () => {
    const engine = await createEngine({ device: 'webgpu', workers: 1 });
    engines.push(engine);
    const given = job(6, 9);
    const expected = given.update.slice();
    expect((await engine.project({ ...given, sum: new Float32Array(54) })).sum).toEqual(expected);
    for (const scale of [1e-18, 1e18]) {
      const make = () => ({ ...job(20, 30), sum: gaussian32(600, 1, scale), update: gaussian32(600, 2, scale) });
      const before = make().sum;
      expect(difference(await engine.project(make()), await onCpu(make()), before)).toBeLessThan(1e-6);
    }
  });

  it('does a matrix again in a fresh process when its process is killed, and counts only failures in a row', async () => {
    const mark = join(tmpdir(), `kinmerge-dies-once-${process.pid}`);
    process.env.DIES_ONCE = mark;
    try {
      const { engine, process: device, notices } = failing();
      let pid: number | null = null;
      let first: ProjectionResult | null = null;
      for (let deaths = 1; deaths <= 3; deaths++) {
        const found = await engine.project(job(3, 30));
        first ??= found;
        expect(found.sum).toEqual(first.sum);
        expect(device.pid).not.toBe(pid);
        pid = device.pid;
        expect(notices.length).toBe(deaths);
        expect(notices.at(-1)).toMatch(/died.*SIGKILL.*started again/);
        await rm(mark);
      }
      expect(engine.device).toBe('webgpu');
      expect(difference(first!, await onCpu(job(3, 30)), job(3, 30).sum)).toBeLessThan(1e-6);
    } finally {
      delete process.env.DIES_ONCE;
      await rm(mark, { force: true });
    }
  });

  it('goes on with the cpu for the matrices of others too, when it is given up', async () => {
    const { engine } = failing();
    const results = await Promise.all([job(1, 30), job(20, 30), job(1, 40), job(30, 20)].map((j) => engine.project(j)));
    expect(results.map(({ rank }) => rank)).toEqual([1, 20, 1, 20]);
  });
});

describe('an engine whose device fails', () => {
  it.each([
    [1, /died.*SIGKILL.*started again/],
    [2, /device lost.*started again/],
  ] as const)('starts it once more, then goes on with the cpu and says so (matrix of %s rows)', async (rows, first) => {
    const { engine, notices } = failing();
    const expected = await onCpu(job(rows, 30));
    const found = await engine.project(job(rows, 30));
    expect(found.sum).toEqual(expected.sum);
    expect(notices).toEqual([expect.stringMatching(first), expect.stringMatching(/goes on with the cpu/)]);
    expect(engine.device).toBe('cpu');
    expect(engine.description).toMatch(/^cpu: .*instead of webgpu: it failed 2 times in a row/);
    expect(() => checkAskedDevice('webgpu', found.phases)).toThrow(expect.objectContaining({ code: 'WRONG_DEVICE' }));
    expect((await engine.project(job(3, 30))).rank).toBe(3);
  });

  it('stops for an abort and a close, and takes nothing after', async () => {
    const { engine, process: device } = failing();
    const control = new AbortController();
    const running = engine.project(job(200, 300), { signal: control.signal });
    control.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
    const last = engine.project(job(200, 300));
    const closing = engine.close();
    await expect(last).rejects.toMatchObject({ code: 'ENGINE_CLOSED' });
    await closing;
    expect(device.pid).toBeNull();
    await expect(engine.project(job(4, 4))).rejects.toMatchObject({ code: 'ENGINE_CLOSED' });
  });

  it('leaves what is wrong with a job to its caller', async () => {
    const { engine, notices } = failing();
    const bad = job(4, 4);
    bad.update[3] = Number.NaN;
    await expect(engine.project(bad)).rejects.toMatchObject({ code: 'NON_FINITE' });
    await expect(engine.project({ ...job(4, 4), rows: 3 })).rejects.toMatchObject({ code: 'BAD_JOB' });
    expect(notices).toEqual([]);
  });
});
