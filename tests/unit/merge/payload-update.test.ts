import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { encodeTernary } from '../../../src/codec/payload-encode.ts';
import { foldStep, openState, withPayloadUpdate } from '../../../src/merge/index.ts';
import { temporaryDirectory } from '../codec/support.ts';
import { engineOf } from './helpers.ts';

const rule = { variant: 'ref', alpha: 0.5 } as const;
const table = [
  { name: 'a', shape: [8, 8], elements: 64 },
  { name: 'b', shape: [8, 8], elements: 64 },
];
const tensors = table.map(({ name, shape }) => ({ name, shape, linear: true }));

async function payload(): Promise<string> {
  const path = join(await temporaryDirectory(), 'payload');
  const content = table.map((_, index) => ({
    index,
    elements: 64,
    nnz: 32,
    scale: 0.5,
    plus: Uint32Array.of(0x5555_5555, 0),
    minus: Uint32Array.of(0, 0xaaaa_aaaa),
  }));
  await writeFile(path, await encodeTernary(table, content));
  return path;
}

test('a payload is folded while it is checked, and its norm comes from the check', async () => {
  const path = await payload();
  const to = join(await temporaryDirectory(), 'state');
  const engine = await engineOf(1);
  const step = { from: null, to, tensors, rule, engine };
  const { updateNorm } = await withPayloadUpdate(path, table, {}, (update) => foldStep({ ...step, update }));
  expect(updateNorm).toBe(Math.sqrt(2 * 32 * 0.25));
});

test('a payload that its check refuses is not folded, also where the tensors read before were good', async () => {
  const path = await payload();
  const bytes = await readFile(path);
  // The last byte of the last section's code.
  bytes[bytes.length - 1]! ^= 0xff;
  await writeFile(path, bytes);
  const to = join(await temporaryDirectory(), 'state');
  const engine = await engineOf(1);
  const step = { from: null, to, tensors, rule, engine };
  const folded = withPayloadUpdate(path, table, {}, (update) => foldStep({ ...step, update }));
  await expect(folded).rejects.toMatchObject({ name: 'CodecError' });
  await expect(openState(to)).rejects.toMatchObject({ code: 'STATE_MISSING' });
});

test('a norm that fails ends the step', async () => {
  const to = join(await temporaryDirectory(), 'state');
  const engine = await engineOf(1);
  const norm = Promise.reject(new Error('refused'));
  const update = { norm, read: async (_: number, out: Float32Array) => out.fill(1).length > 0 };
  await expect(foldStep({ from: null, to, tensors, rule, engine, update })).rejects.toThrow('refused');
  await expect(openState(to)).rejects.toMatchObject({ code: 'STATE_MISSING' });
});
