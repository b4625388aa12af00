import { afterAll, describe, expect, inject, it } from 'vitest';
import { Buffers } from '../../../src/compute/buffers.ts';
import { CpuDevice } from '../../../src/compute/cpu/cpu-device.ts';
import { GRAPH_NAMES } from '../../../src/compute/graphs.ts';
import { DeviceProcess } from '../../../src/compute/provider/device-process.ts';
import type { Bulk } from '../../../src/compute/provider/parcels.ts';
import { type GraphCase, inputsOf, runGraph } from './graph-cases.ts';

/** |float32 product - float64 product| / |float64 product| over the whole matrix; half floats give 1e-4 and more. */
const TOLERANCE = 2e-6;

const device = new DeviceProcess({ provider: 'webgpu', moduleUrl: new URL('./device-test-child.ts', import.meta.url) });
afterAll(() => device.close());
const cpu = new CpuDevice({}, { buffers: new Buffers() });

async function difference(given: GraphCase, tileSide?: number): Promise<number> {
  const arrays = inputsOf(given);
  const reply = await device.call('graph', { fields: { ...given, ...(tileSide && { tileSide }) }, arrays });
  return distance(reply.arrays.y!, await runGraph(given, arrays, cpu));
}

function distance(found: Bulk, expected: Float32Array | Float64Array): number {
  expect(found).toBeInstanceOf(Float32Array);
  expect(found.length).toBe(expected.length);
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (found[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  return Math.sqrt(difference / norm);
}

describe.skipIf(!inject('webgpu'))('the graphs on webgpu', () => {
  const shapes = [
    [1, 1, 1],
    [1, 768, 5],
    [5, 1, 768],
    [33, 65, 17],
    [128, 300, 128],
  ] as const;
  it.each(GRAPH_NAMES.flatMap((graph) => shapes.map(([p, n, q]) => ({ graph, p, n, q }))))(
    'give what float64 gives: $graph of $p x $q, sums of $n',
    async (given) => {
      expect(await difference(given)).toBeLessThan(TOLERANCE);
    },
  );

  it.each([
    { graph: 'times', p: 128, n: 768, q: 3072 },
    { graph: 'timesTransposed', p: 128, n: 3072, q: 768 },
    { graph: 'addTimesTransposed', p: 768, n: 512, q: 256 },
    { graph: 'minusTransposedTimes', p: 768, n: 128, q: 3072 },
    { graph: 'minusTimes', p: 128, n: 768, q: 3072 },
  ] as const)('give it for a panel with a layer of 768 x 3072: $graph', async (given) => {
    expect(await difference(given)).toBeLessThan(TOLERANCE);
  });

  const tiled = [
    [16, 16, 16],
    [17, 16, 15],
    [15, 33, 16],
    [40, 50, 35],
    [1, 50, 1],
  ] as const;
  it.each(GRAPH_NAMES.flatMap((graph) => tiled.map(([p, n, q]) => ({ graph, p, n, q }))))(
    'give it from tiles of side 16: $graph of $p x $q, sums of $n',
    async (given) => {
      expect(await difference(given, 16)).toBeLessThan(TOLERANCE);
    },
  );

  it('take a matrix of more than one tile of the real side', async () => {
    expect(await difference({ graph: 'times', p: 2, n: 4097, q: 3 })).toBeLessThan(TOLERANCE);
  });

  it('give the same bytes each time', async () => {
    const given = { graph: 'minusTimes', p: 60, n: 200, q: 130 } as const;
    const arrays = inputsOf(given);
    const [a, b] = [
      await device.call('graph', { fields: given, arrays }),
      await device.call('graph', { fields: given, arrays }),
    ];
    expect(b.arrays.y).toEqual(a.arrays.y);
  });

  it('keep no memory of matrices that were released', async () => {
    // Two matrices of 1 MiB each time: 300 MiB by the end if either were kept, half of it if one were.
    const { fields } = await device.call('repeat', { fields: { times: 200, side: 512 }, arrays: {} });
    expect((fields as { grown: number }).grown).toBeLessThan(60 * 2 ** 20);
  });

  it('keep no memory of matrices that a failed call left', async () => {
    const memory: number[] = [];
    for (let i = 0; i < 20; i++) {
      const error: unknown = await device.call('leave', { fields: { side: 2048 }, arrays: {} }).catch((e) => e);
      memory.push(Number(/\d+$/.exec(String(error))));
    }
    // 16 MiB each time.
    expect(memory[19]! - memory[4]!).toBeLessThan(100 * 2 ** 20);
  });

  it('are refused in float64, which by default would run on the CPU without a word', async () => {
    const { fields } = await device.call('float64', { fields: null, arrays: {} });
    expect(fields).toMatchObject({ refusal: expect.stringMatching(/fallback|CPU EP/i), byDefault: 'float64' });
  });
});
