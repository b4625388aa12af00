import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { encodeModel } from '../../../src/compute/onnx-model.ts';
import { type EvaluateInput, evaluate } from '../../../src/evaluate/index.ts';
import { bytes, float, opened, scratch, writeLinearGraph, writeTensors } from './support.ts';

// Class i has the largest score where pixel i is the brightest.
const IDENTITY = float([3, 4], 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0);
const IMAGES = bytes([4, 2, 2], 9, 1, 1, 0, 1, 9, 1, 0, 1, 1, 9, 0, 1, 2, 9, 0);
const LABELS = bytes([4], 0, 1, 2, 1);

async function linearCase(): Promise<EvaluateInput & { directory: string }> {
  const directory = await scratch();
  return {
    directory,
    graph: await writeLinearGraph(join(directory, 'linear.onnx')),
    weights: await opened(await writeTensors(join(directory, 'model.safetensors'), { weight: IDENTITY })),
    tests: [
      {
        task: 'pixels',
        path: await writeTensors(join(directory, 'test.safetensors'), { images: IMAGES, labels: LABELS }),
      },
    ],
  };
}

describe('counting', () => {
  test('counts the samples whose largest score is at their label', async () => {
    const result = await evaluate(await linearCase());
    expect(result).toEqual({ tasks: { pixels: { n: 4, correct: 3, accuracy: 75 } }, average: 75 });
  });

  test.each([1, 3, 4, 5])('does not depend on the batch: %d samples a run', async (batch) => {
    const result = await evaluate({ ...(await linearCase()), batch });
    expect(result.tasks.pixels).toEqual({ n: 4, correct: 3, accuracy: 75 });
  });

  test('the average weighs tasks equally, whatever their sizes', async () => {
    const input = await linearCase();
    const path = join(input.directory, 'one.safetensors');
    await writeTensors(path, { images: bytes([1, 4], 9, 0, 0, 0), labels: bytes([1], 1) });
    const result = await evaluate({ ...input, tests: [...input.tests, { task: '__proto__', path }] });
    expect(Object.keys(result.tasks)).toEqual(['pixels', '__proto__']);
    expect(result.average).toBe(37.5);
  });

  test('of equal scores the first class counts', async () => {
    const input = await linearCase();
    const path = join(input.directory, 'tie.safetensors');
    await writeTensors(path, { images: bytes([2, 4], 5, 5, 0, 0, 5, 5, 0, 0), labels: bytes([2], 0, 1) });
    expect((await evaluate({ ...input, tests: [{ task: 'tie', path }] })).tasks.tie?.correct).toBe(1);
  });

  test('bytes become values from 0 to 1, floats stay as they are', async () => {
    const input = await linearCase();
    const graph = join(input.directory, 'biased.onnx');
    await writeFile(
      graph,
      encodeModel({
        name: 'biased',
        inputs: [
          { name: 'images', type: 'float32', shape: ['N', 4] },
          { name: 'weight', type: 'float32', shape: ['C', 4] },
          { name: 'bias', type: 'float32', shape: ['C'] },
        ],
        outputs: [{ name: 'logits', type: 'float32', shape: ['N', 'C'] }],
        nodes: [{ op: 'Gemm', inputs: ['images', 'weight', 'bias'], outputs: ['logits'], ints: { transB: 1 } }],
      }),
    );
    // Class 0 wins exactly where the first pixel is above 0.9.
    const weights = await opened(
      await writeTensors(join(input.directory, 'biased.safetensors'), {
        weight: float([2, 4], 1, 0, 0, 0, 0, 0, 0, 0),
        bias: float([2], 0, 0.9),
      }),
    );
    const run = async (name: string, images: ReturnType<typeof bytes>) => {
      const path = await writeTensors(join(input.directory, name), { images, labels: bytes([2], 0, 1) });
      return (await evaluate({ ...input, graph, weights, tests: [{ task: 'scale', path }] })).average;
    };
    expect(await run('bytes.safetensors', bytes([2, 4], 255, 0, 0, 0, 200, 0, 0, 0))).toBe(100);
    expect(await run('floats.safetensors', float([2, 4], 255, 0, 0, 0, 200, 0, 0, 0))).toBe(50);
  });

  test('weights and labels may be of other dtypes', async () => {
    const input = await linearCase();
    const { directory } = input;
    const bf16 = Uint16Array.from(IDENTITY.data as Float32Array, (value) => (value === 1 ? 0x3f80 : 0));
    const weights = await opened(
      await writeTensors(join(directory, 'bf16.safetensors'), { weight: { dtype: 'BF16', shape: [3, 4], data: bf16 } }),
    );
    const labels = { dtype: 'I64', shape: [4], data: BigInt64Array.from([0n, 1n, 2n, 1n]) } as const;
    const path = await writeTensors(join(directory, 'i64.safetensors'), { images: IMAGES, labels });
    expect((await evaluate({ ...input, weights, tests: [{ task: 'pixels', path }] })).average).toBe(75);
  });

  test("a task's own tensor of the heads wins over the model's", async () => {
    const input = await linearCase();
    const heads = await opened(
      await writeTensors(join(input.directory, 'heads.safetensors'), {
        'turned.weight': float([3, 4], 0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0),
      }),
    );
    const { path } = input.tests[0]!;
    const tests = [
      { task: 'pixels', path },
      { task: 'turned', path },
      { task: 'again', path },
    ];
    const { tasks } = await evaluate({ ...input, heads, tests });
    expect([tasks.pixels?.correct, tasks.turned?.correct, tasks.again?.correct]).toEqual([3, 1, 3]);
  });

  test('data, labels and output may have other names', async () => {
    const input = await linearCase();
    const graph = join(input.directory, 'named.onnx');
    await writeFile(
      graph,
      encodeModel({
        name: 'named',
        inputs: [
          { name: 'x', type: 'float32', shape: ['N', 4] },
          { name: 'weight', type: 'float32', shape: ['C', 4] },
        ],
        outputs: [{ name: 'y', type: 'float32', shape: ['N', 'C'] }],
        nodes: [{ op: 'Gemm', inputs: ['x', 'weight'], outputs: ['y'], ints: { transB: 1 } }],
      }),
    );
    const path = await writeTensors(join(input.directory, 'named.safetensors'), { x: IMAGES, classes: LABELS });
    const names = { dataInput: 'x', labels: 'classes', output: 'y' };
    expect((await evaluate({ ...input, graph, tests: [{ task: 'named', path }], ...names })).average).toBe(75);
  });
});

describe('refusing', () => {
  const broken: [string, string, (input: EvaluateInput & { directory: string }) => Promise<Partial<EvaluateInput>>][] =
    [
      ['no test set', 'NO_TESTS', async () => ({ tests: [] })],
      ['a task named twice', 'NO_TESTS', async ({ tests }) => ({ tests: [...tests, ...tests] })],
      [
        'a graph that is not there',
        'GRAPH_UNREADABLE',
        async ({ directory }) => ({ graph: join(directory, 'no.onnx') }),
      ],
      ['a graph that is no graph', 'GRAPH_UNREADABLE', async ({ tests }) => ({ graph: tests[0]!.path })],
      [
        'an unknown data input',
        'INPUT_UNKNOWN',
        async ({ directory }) => ({
          dataInput: 'pixels',
          tests: [
            {
              task: 'pixels',
              path: await writeTensors(join(directory, 'p.safetensors'), { pixels: IMAGES, labels: LABELS }),
            },
          ],
        }),
      ],
      ['an unknown output', 'OUTPUT_UNKNOWN', async () => ({ output: 'scores' })],
      [
        'a graph input without a tensor',
        'INPUT_MISSING',
        async ({ directory }) => ({
          weights: await opened(await writeTensors(join(directory, 'other.safetensors'), { bias: float([1], 1) })),
        }),
      ],
      [
        'a tensor of another shape',
        'SHAPE_MISMATCH',
        async ({ directory }) => ({
          weights: await opened(
            await writeTensors(join(directory, 'wide.safetensors'), { weight: float([1, 5], 1, 2, 3, 4, 5) }),
          ),
        }),
      ],
      [
        'a weight that is not a float',
        'DTYPE_MISMATCH',
        async ({ directory }) => ({
          weights: await opened(
            await writeTensors(join(directory, 'u8.safetensors'), { weight: bytes([1, 4], 1, 2, 3, 4) }),
          ),
        }),
      ],
      [
        'samples of another size',
        'SHAPE_MISMATCH',
        withTest({ images: bytes([1, 5], 1, 2, 3, 4, 5), labels: bytes([1], 0) }),
      ],
      ['a test set without samples', 'TEST_SET_EMPTY', withTest({ images: bytes([0, 4]), labels: bytes([0]) })],
      ['a test set without labels', 'TEST_SET_INVALID', withTest({ images: IMAGES })],
      ['fewer labels than samples', 'TEST_SET_INVALID', withTest({ images: IMAGES, labels: bytes([3], 0, 1, 2) })],
      [
        'labels that are not integers',
        'TEST_SET_INVALID',
        withTest({ images: IMAGES, labels: float([4], 0, 1, 2, 1) }),
      ],
      [
        'a label above the classes',
        'LABELS_OUT_OF_RANGE',
        withTest({ images: IMAGES, labels: bytes([4], 0, 1, 3, 1) }),
      ],
      [
        'a negative label',
        'LABELS_OUT_OF_RANGE',
        withTest({
          images: IMAGES,
          labels: { dtype: 'I8', shape: [4], data: Int8Array.from([0, 1, -1, 1]) },
        }),
      ],
      [
        'scores that are NaN',
        'OUTPUT_INVALID',
        withTest({
          images: float([1, 4], Number.NaN, 0, 0, 0),
          labels: bytes([1], 0),
        }),
      ],
    ];

  test.each(broken)('%s: %s', async (_what, code, change) => {
    const input = await linearCase();
    await expect(evaluate({ ...input, ...(await change(input)) })).rejects.toMatchObject({ code });
  });

  function withTest(tensors: Parameters<typeof writeTensors>[1]) {
    return async ({ directory }: { directory: string }) => ({
      tests: [{ task: 'bad', path: await writeTensors(join(directory, 'bad.safetensors'), tensors) }],
    });
  }

  test('a missing head names the tensor that it looked for', async () => {
    const input = await linearCase();
    const heads = await opened(await writeTensors(join(input.directory, 'h.safetensors'), { 'a.weight': IDENTITY }));
    const weights = await opened(await writeTensors(join(input.directory, 'e.safetensors'), { bias: float([1], 1) }));
    const failure = evaluate({ ...input, heads, weights });
    await expect(failure).rejects.toMatchObject({ code: 'INPUT_MISSING', fields: { missing: ['weight'] } });
    await expect(failure).rejects.toThrow(/"pixels\.weight"/);
  });
});

describe('aborting', () => {
  test('stops between two batches with the reason of the signal', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const seen: number[] = [];
    const run = evaluate(
      { ...(await linearCase()), batch: 1 },
      {
        signal: controller.signal,
        onProgress: ({ done }) => {
          seen.push(done);
          controller.abort(reason);
        },
      },
    );
    await expect(run).rejects.toBe(reason);
    expect(seen).toEqual([1]);
  });

  test('does nothing when it comes first', async () => {
    const input = { ...(await linearCase()), graph: '/nowhere' };
    await expect(evaluate(input, { signal: AbortSignal.abort(new Error('early')) })).rejects.toThrow('early');
  });
});
