import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { describeTensor, narrow, openCheckpoint, SUM_BLOCK_ELEMENTS } from '../../../src/tensors/index.ts';
import { entry, failure, fileBytes, tempFile } from './files.ts';

type Float = 'F32' | 'F16' | 'BF16' | 'F64';

async function open(values: Float32Array, dtype: Float) {
  const data = narrow(values, dtype);
  const path = await tempFile(fileBytes(`{${entry('t', dtype, [values.length], 0, data.byteLength)}}`, data));
  return { checkpoint: await openCheckpoint(path), data };
}

/** Blocks first, then the blocks, all in order. */
function blockedSum(values: Float32Array): number {
  let total = 0;
  for (let from = 0; from < values.length; from += 65_536) {
    total += values.subarray(from, from + 65_536).reduce((sum, value) => sum + value * value, 0);
  }
  return total;
}

describe('describeTensor', () => {
  test.each(['F32', 'F16', 'BF16', 'F64'] as const)(
    'hashes and sums %s over many chunks and a partial block',
    async (dtype) => {
      const values = Float32Array.from({ length: 9 * SUM_BLOCK_ELEMENTS + 1234 }, (_, i) => Math.sin(i) * 0.1);
      const { checkpoint, data } = await open(values, dtype);
      const found = await describeTensor(checkpoint, 't');
      const rounded = await checkpoint.readFloat32('t');
      await checkpoint.close();
      expect(Buffer.from(found.sha256).toString('hex')).toBe(createHash('sha256').update(data).digest('hex'));
      expect(found.sumSquares).toBe(blockedSum(rounded));
      // The order of the sum shows in the last bits, so the blocks are really there.
      if (dtype === 'F32') expect(found.sumSquares).not.toBe(rounded.reduce((sum, value) => sum + value * value, 0));
    },
  );

  test('does not overflow where float32 squares would', async () => {
    const { checkpoint } = await open(Float32Array.of(3e38, -3e38), 'F32');
    expect((await describeTensor(checkpoint, 't')).sumSquares).toBeCloseTo(1.8e77, -72);
    await checkpoint.close();
  });

  test.each([
    ['F32', Number.NaN, 'NaN', 70_000],
    ['F32', Number.NEGATIVE_INFINITY, '-Infinity', 300_001],
    ['F16', Number.POSITIVE_INFINITY, 'Infinity', 0],
    ['BF16', Number.NaN, 'NaN', 65_536],
    ['F64', Number.NaN, 'NaN', 300_001],
  ] as const)('names tensor and place of the first %s %s', async (dtype, value, shown, index) => {
    const values = new Float32Array(300_002).fill(0.5);
    values[index] = value;
    values[300_001] ||= Number.NaN;
    const { checkpoint } = await open(values, dtype);
    const error = await failure(() => describeTensor(checkpoint, 't'));
    expect([error.code, error.fields]).toEqual(['NOT_FINITE', { tensor: 't', index, value: shown }]);
    await checkpoint.close();
  });

  test('of a tensor without values is the hash alone', async () => {
    const path = join(import.meta.dirname, '../../fixtures/vision8/test-signs.safetensors');
    const checkpoint = await openCheckpoint(path);
    const labels = await checkpoint.readRaw('labels');
    const found = await describeTensor(checkpoint, 'labels');
    expect(Buffer.compare(found.sha256, createHash('sha256').update(labels).digest())).toBe(0);
    expect(found.sumSquares).toBe(0);
    expect((await failure(() => describeTensor(checkpoint, 'none'))).code).toBe('UNKNOWN_TENSOR');
    const signal = AbortSignal.abort();
    await expect(describeTensor(checkpoint, 'labels', { signal })).rejects.toThrow(
      expect.objectContaining({ name: 'AbortError' }),
    );
    await checkpoint.close();
  });
});
