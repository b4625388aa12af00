import { join } from 'node:path';
import { expect, test } from 'vitest';
import { virtualWeights } from '../../../src/choose/index.ts';
import { narrow } from '../../../src/tensors/index.ts';
import { float, opened, scratch, writeTensors } from '../evaluate/support.ts';

const floats = (bytes: Uint8Array) => [...new Float32Array(bytes.slice().buffer)];

test('additions make tensors float32, and the others stay as they are stored', async () => {
  const half = narrow(Float32Array.of(1, 2), 'BF16');
  const path = await writeTensors(join(await scratch(), 'base.safetensors'), {
    changed: { dtype: 'BF16', shape: [2], data: half },
    same: { dtype: 'BF16', shape: [2], data: half },
  });
  const base = await opened(path);
  const weights = virtualWeights(base, new Map([['changed', (values) => values.set([values[0]! + 2 ** -20])]]));

  expect(weights.tensors.get('changed')).toMatchObject({ dtype: 'F32', shape: [2], elements: 2, byteLength: 8 });
  expect(weights.tensors.get('same')).toEqual(base.tensors.get('same'));
  // Finer than the base's dtype can tell.
  expect(floats(await weights.readRaw('changed'))).toEqual([1 + 2 ** -20, 2]);
  expect(await weights.readRaw('same')).toEqual(await base.readRaw('same'));
});

test('the base is read anew each time, so nothing adds up', async () => {
  const base = await opened(await writeTensors(join(await scratch(), 'b.safetensors'), { w: float([1], 1) }));
  const add = async (values: Float32Array) => values.set([values[0]! + 1]);
  const weights = virtualWeights(base, new Map([['w', add]]));
  expect(floats(await weights.readRaw('w'))).toEqual([2]);
  expect(floats(await weights.readRaw('w'))).toEqual([2]);
});
