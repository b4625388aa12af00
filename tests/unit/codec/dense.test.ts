import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { MAX_INLINE_ELEMENTS } from '../../../src/codec/decode/dense.ts';
import {
  denseTensors,
  encodeTernarySync,
  expand,
  openPayload,
  type PayloadReader,
  type TensorTable,
  type UpdateTensor,
} from '../../../src/codec/index.ts';
import { lowRank, randomNumbers, tableOfShapes, temporaryDirectory, ternary } from './support.ts';

const SIDE = 1_024;

/** Tensors of all kinds, the last of such a size that all together have so many elements. */
function contents(total: number): { table: TensorTable; tensors: UpdateTensor[] } {
  const random = randomNumbers(total);
  const shapes: number[][] = [[3, 5], [SIDE, SIDE], [7], [SIDE, SIDE], [SIDE, SIDE]];
  const used = shapes.reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0);
  const table = tableOfShapes(...shapes, [total - used]);
  const signs = (elements: number, density: number) =>
    Int8Array.from({ length: elements }, () => (random() >= density ? 0 : random() < 0.5 ? -1 : 1));
  const tensors = [
    ternary(0, [1, 0, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 0.25),
    ternary(1, signs(SIDE * SIDE, 0.1), 0.5),
    // The third has no section.
    lowRank(3, { rows: SIDE, columns: SIDE, rank: 5, density: 0.3, scale: 2, random }),
    ternary(4, signs(SIDE * SIDE, 0.5), 3),
    ternary(5, signs(total - used, 0.001), 0.125),
  ];
  return { table, tensors };
}

async function fileOf(bytes: Uint8Array): Promise<string> {
  const path = join(await temporaryDirectory(), 'payload');
  await writeFile(path, bytes);
  return path;
}

/** Compares every tensor with what `expand` makes of it. */
async function expectDense(reader: PayloadReader, tensors: readonly UpdateTensor[], threads: number): Promise<void> {
  let at = 0;
  for await (const { index, values } of denseTensors(reader, { threads })) {
    const expected = new Float32Array(tensors[at]!.elements);
    expand(tensors[at]!, expected);
    expect([index, values.length]).toEqual([tensors[at]!.index, expected.length]);
    expect(Buffer.compare(Buffer.from(values.slice().buffer), Buffer.from(expected.buffer))).toBe(0);
    at++;
  }
  expect(at).toBe(tensors.length);
}

describe('a payload decoded ahead', () => {
  // In the caller's thread up to a number of elements, in threads above it.
  test.each([MAX_INLINE_ELEMENTS, MAX_INLINE_ELEMENTS + 1])(
    'of %i elements has all entries of all tensors',
    async (total) => {
      const { table, tensors } = contents(total);
      const bytes = encodeTernarySync(table, tensors);
      for (const source of [bytes, await fileOf(bytes)]) {
        const reader = await openPayload(source, table);
        try {
          for (const threads of [1, 3]) await expectDense(reader, tensors, threads);
        } finally {
          await reader.close();
        }
      }
    },
  );

  test.each([MAX_INLINE_ELEMENTS, MAX_INLINE_ELEMENTS + 1])(
    'of %i elements that is damaged is refused by its code',
    async (total) => {
      const { table, tensors } = contents(total);
      const bytes = encodeTernarySync(table, tensors);
      const whole = await openPayload(bytes, table);
      // The first byte of a coder's state is at most 127.
      bytes[whole.sections[1]!.offset] = 255;
      const reader = await openPayload(await fileOf(bytes), table);
      try {
        const run = async () => {
          for await (const _ of denseTensors(reader));
        };
        await expect(run()).rejects.toMatchObject({
          name: 'CodecError',
          code: 'BAD_CODER_STATE',
          fields: { index: 1 },
        });
      } finally {
        await reader.close();
      }
    },
  );

  test.each([MAX_INLINE_ELEMENTS, MAX_INLINE_ELEMENTS + 1])('of %i elements stops with its signal', async (total) => {
    const { table, tensors } = contents(total);
    const reader = await openPayload(await fileOf(encodeTernarySync(table, tensors)), table);
    const controller = new AbortController();
    try {
      const seen: number[] = [];
      const run = async () => {
        for await (const { index } of denseTensors(reader, { signal: controller.signal })) {
          seen.push(index);
          controller.abort(new Error('enough'));
        }
      };
      await expect(run()).rejects.toThrow('enough');
      expect(seen).toEqual([0]);
    } finally {
      await reader.close();
    }
  });
});
