import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { denseTensors, encodeTaskVector, encodeTernarySync, openPayload } from '../../../src/codec/index.ts';
import { aligned, Kernel } from '../../../src/codec/kernel/kernel.ts';
import { codeMasks } from '../../../src/codec/section-choice.ts';
import { temporaryDirectory } from './support.ts';

test('a code that comes to lie above 2 GiB of a kernel is read like any other', () => {
  const kernel = new Kernel();
  const elements = 4096;
  const coded = [2 ** 24, 2 ** 31 + 2 ** 24].map((plus) => {
    const minus = aligned(plus + elements / 8);
    const end = aligned(minus + elements / 8);
    kernel.reach(end);
    kernel.u8(plus, end - plus).fill(0);
    // One entry in 16, so that coding 1 wins.
    kernel.u32(plus, elements / 32).fill(0x10001);
    const masks = { plus, minus, elements, nnz: elements / 16, end };
    return codeMasks(kernel, masks, [elements]);
  });
  expect(coded[1]).toEqual(coded[0]);
});

test('a payload that is gone when its tensors are decoded is a failed read of the codec', async () => {
  const { path, reader } = await openStored();
  try {
    await rm(path);
    await expect(denseTensors(reader).next()).rejects.toMatchObject({ name: 'CodecError', code: 'READ_FAILED' });
  } finally {
    await reader.close();
  }
});

test('the report counts tensors that an adapter has as factors and that travel as entries', async () => {
  const [rows, columns, rank] = [8, 8, 8];
  const table = [{ name: 'a.weight', shape: [rows, columns], elements: 64 }];
  const values = (step: number) => Float32Array.from({ length: 64 }, (_, i) => Math.sin(i * step + 1));
  const factor = (tensor: string) => ({ tensor, rows: 8, columns: 8, transposed: false });
  const factors = { rows, columns, rank, scaling: 1, left: factor('B'), right: factor('A') };
  const adapter = {
    lowRank: new Map([['a.weight', factors]]),
    full: new Map(),
    notes: [],
    checkpoint: { readFloat32: async (name: string) => values(name === 'A' ? 1.3 : 0.7) },
  };
  const base = { tensors: new Map([['a.weight', { ...table[0]!, dtype: 'F32' }]]) };
  const input = { base, finetune: adapter, table, density: 1, mode: 'tensor', scaleUnit: 'magnitude', scaleFactor: 1 };
  const out = join(await temporaryDirectory(), 'payload');
  const report = await encodeTaskVector(input as unknown as Parameters<typeof encodeTaskVector>[0], out);
  expect(report).toMatchObject({ nnz: 64, codedElements: 64, density: 1 });
  expect(Math.fround(report.leastSquaresScale)).toBe(report.scales[0]);
});

test('a payload that is another file when its tensors are decoded says nothing about the payload', async () => {
  const { path, reader } = await openStored();
  try {
    await writeFile(`${path}.new`, new Uint8Array(reader.bytes));
    await rename(`${path}.new`, path);
    await expect(denseTensors(reader).next()).rejects.toMatchObject({ name: 'CodecError', code: 'READ_FAILED' });
  } finally {
    await reader.close();
  }
});

test.each([0, -1, 1.5, Number.NaN])('%s threads are refused instead of waited for', async (threads) => {
  const table = [{ name: 't', shape: [32], elements: 32 }];
  const reader = await openPayload(encodeTernarySync(table, []), table);
  await expect(denseTensors(reader, { threads }).next()).rejects.toMatchObject({ code: 'BAD_PARAMETER' });
});

/** A payload of one entry in a file, with its reader open. */
async function openStored() {
  const path = join(await temporaryDirectory(), 'payload');
  const table = [{ name: 't', shape: [32], elements: 32 }];
  const masks = { plus: Uint32Array.of(1), minus: new Uint32Array(1), nnz: 1 };
  await writeFile(path, encodeTernarySync(table, [{ index: 0, elements: 32, scale: 1, ...masks }]));
  return { path, reader: await openPayload(path, table) };
}
