import { expect, test } from 'vitest';
import { Kernel } from '../../../src/codec/kernel/kernel.ts';
import { counting } from './allocations.ts';

const bytesOf = async (work: () => unknown) => (await counting(work)).bytes;

test.each<[string, () => unknown, number]>([
  ['nothing', () => 1 + 1, 0],
  ['a typed array', () => new Float32Array(10), 40],
  ['a copy of a list', () => new Uint16Array([1, 2, 3]), 6],
  ['a typed array of given values', () => Uint32Array.of(1, 2), 8],
  ['a buffer', () => new ArrayBuffer(100), 100],
  ['a shared buffer and a view of it', () => new Uint8Array(new SharedArrayBuffer(64)), 64],
  ['a view, and a view of that', () => new Uint8Array(memory, 8, 8).subarray(2), 0],
  ['a slice', () => new Uint8Array(memory, 8, 8).slice(0, 4), 4],
  ['a buffer of Node', () => Buffer.alloc(1_000), 1_000],
  ['a view by Node', () => Buffer.from(memory, 0, 10), 0],
  ['two that are gone at once', () => [new Uint8Array(2 ** 30).length, new Uint8Array(2 ** 30).length], 2 ** 31],
])('counts %s', async (_, work, bytes) => {
  expect(await bytesOf(work)).toBe(bytes);
});

test('counts the memory of a kernel and its growth', async () => {
  const { result: kernel, bytes } = await counting(() => new Kernel());
  // Compiling it for the first time decodes its text, too.
  expect(bytes).toBeGreaterThanOrEqual(kernel.bytes);
  expect(await bytesOf(() => kernel.reach(kernel.bytes + 65_536))).toBe(65_536);
  expect(await bytesOf(() => kernel.reach(kernel.bytes))).toBe(0);
});

const memory = new ArrayBuffer(64);
