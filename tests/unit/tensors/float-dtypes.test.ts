import { join } from 'node:path';
import { expect, test } from 'vitest';
import { encodeTaskVector, isFloatDtype, openContainer, tableOf } from '../../../src/codec/index.ts';
import { charterTable, createCharter, decodeCharter, encodeCharter } from '../../../src/log/index.ts';
import { narrowFinite } from '../../../src/merge/export.ts';
import { foldTensors } from '../../../src/merge/index.ts';
import {
  createSafetensors,
  type Dtype,
  describeTensor,
  dtypeBytes,
  FLOAT_DTYPES,
  type FloatDtype,
  isFloat,
  narrow,
  openCheckpoint,
  widen,
} from '../../../src/tensors/index.ts';
import { charterInput, digest } from '../log/helpers.ts';
import { failure, tempDir } from './files.ts';

// The list of docs/log-format.md: another one makes other tensor tables, so it changes with the format only.
const FLOATS: readonly FloatDtype[] = ['F32', 'F16', 'BF16', 'F64', 'F8_E5M2', 'F8_E4M3'];
const OTHERS: readonly Dtype[] = ['BOOL', 'U8', 'I8', 'I16', 'U16', 'I32', 'U32', 'I64', 'U64'];

async function checkpoint(values: readonly number[], dtypes: readonly Dtype[] = [...FLOATS, ...OTHERS]) {
  const path = join(await tempDir(), 'x.safetensors');
  const writer = await createSafetensors(
    path,
    dtypes.map((dtype) => ({ name: dtype, dtype, shape: [2, values.length / 2] })),
  );
  for (const dtype of dtypes) {
    const floats = Float32Array.from(values);
    await writer.write(
      dtype,
      isFloat(dtype) ? narrow(floats, dtype) : new Uint8Array(values.length * dtypeBytes(dtype)),
    );
  }
  await writer.commit();
  return openCheckpoint(path);
}

test('reader, codec, charter and merge go by one set of float dtypes', async () => {
  expect([...FLOAT_DTYPES].sort()).toEqual([...FLOATS].sort());
  for (const dtype of [...FLOATS, ...OTHERS]) {
    expect(isFloatDtype(dtype), dtype).toBe(FLOAT_DTYPES.has(dtype));
    expect(isFloat(dtype), dtype).toBe(FLOAT_DTYPES.has(dtype));
  }
  const base = await checkpoint([1, 2, 3, 4]);
  const tensors = [...base.tensors.values()].map(({ name, dtype, shape }) => ({
    name,
    dtype,
    shape,
    linear: isFloat(dtype),
    sha256: digest(1),
  }));
  const charter = createCharter(charterInput({ base: { sumSquares: 1, tensors, sideFiles: [] } }));
  const table = charterTable(decodeCharter(encodeCharter(charter)));
  expect(table.map(({ name }) => name)).toEqual([...FLOATS].sort());
  expect(table).toEqual(tableOf(base));
  expect(foldTensors(base, null).map(({ name }) => name)).toEqual(table.map(({ name }) => name));
  await base.close();
});

test('every float dtype is described, encoded and written back', async () => {
  const base = await checkpoint([1, 2, -3, 4], FLOATS);
  const finetune = await checkpoint([1.5, 2, -3, 2], FLOATS);
  for (const name of FLOATS) expect((await describeTensor(base, name)).sumSquares).toBe(30);
  const out = join(await tempDir(), 'update');
  const table = tableOf(base);
  const settings = { density: 0.5, scaleFactor: 1, mode: 'tensor', scaleUnit: 'deviation' } as const;
  await encodeTaskVector({ base, finetune, table, ...settings, container: true }, out);
  const update = await openContainer(out);
  for (const index of table.keys()) {
    expect(await update.payload.tensor(index)).toMatchObject({
      plus: Uint32Array.of(0b0001),
      minus: Uint32Array.of(0b1000),
    });
  }
  await Promise.all([update.close(), base.close(), finetune.close()]);
});

test('a NaN in an 8-bit tensor is found before anything is merged', async () => {
  const base = await checkpoint([1, Number.NaN], ['F8_E4M3']);
  expect(await failure(() => describeTensor(base, 'F8_E4M3'))).toMatchObject({
    code: 'NOT_FINITE',
    fields: { index: 1 },
  });
  await base.close();
});

test.each([
  ['F8_E4M3', 463.9, 448, 464],
  ['F8_E5M2', 61_439, 57_344, 61_440],
  ['F16', 65_519, 65_504, 65_520],
] as const)('a merged value that %s cannot hold is refused, not saturated', async (dtype, fits, stored, beyond) => {
  const info = { name: 'w', dtype, shape: [1], elements: 1, byteLength: dtypeBytes(dtype) };
  expect([...widen(narrowFinite(Float32Array.of(-fits), info), dtype)]).toEqual([-stored]);
  expect((await failure(() => narrowFinite(Float32Array.of(-beyond), info))).code).toBe('NON_FINITE');
});
