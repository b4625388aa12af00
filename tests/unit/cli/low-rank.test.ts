import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { encodeTernarySync, entropyBoundBits, type UpdateTensor, writeContainer } from '../../../src/codec/index.ts';
import { tableOf as floatTable } from '../../../src/codec/table.ts';
import { foldTensors, openTaskVector } from '../../../src/merge/index.ts';
import { createSafetensors, openCheckpoint } from '../../../src/tensors/index.ts';
import { integersOf, lowRank, randomNumbers, ternary } from '../codec/support.ts';
import { runInProcess } from './support.ts';

const ROWS = 40;
const COLUMNS = 60;
const table = [
  { name: 'bias', shape: [COLUMNS], elements: COLUMNS },
  { name: 'weight', shape: [ROWS, COLUMNS], elements: ROWS * COLUMNS },
];
const encoder = { mode: 'tensor', density: 0.2, scaleUnit: 'magnitude', scaleFactor: 2 } as const;

/** An update with one tensor in each form. */
function update(seed: number): UpdateTensor[] {
  const random = randomNumbers(seed);
  const bias = ternary(
    0,
    Int8Array.from({ length: COLUMNS }, (_, i) => (i % 5) - 2),
    0.25,
  );
  return [bias, lowRank(1, { rows: ROWS, columns: COLUMNS, rank: 6, density: 0.3, scale: 0.375, random })];
}

const [first, second] = [update(1), update(2)];
let dir: string;
let path: (name: string) => string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kinmerge-low-rank-'));
  path = (name) => join(dir, name);
  for (const [name, tensors] of Object.entries({ first, second })) {
    await writeContainer(path(name), { table, encoder, payload: encodeTernarySync(table, tensors) });
  }
  const plan = table.map(({ name, shape }) => ({ name, shape, dtype: 'F32' as const }));
  const writer = await createSafetensors(path('base.safetensors'), plan, {});
  for (const { name, elements } of table) await writer.write(name, new Uint8Array(4 * elements));
  await writer.commit();
});
afterAll(() => rm(dir, { recursive: true, force: true }));

function dense(t: UpdateTensor): Float32Array {
  return Float32Array.from(integersOf(t), (k) => k * t.scale);
}

test('inspect tells the form and the rank of each tensor, and what is coded of it', async () => {
  const { code, stdout } = await runInProcess(['inspect', path('first'), '--json']);
  expect(code).toBe(0);
  const [bias, weight] = first;
  if (weight?.form !== 'low-rank' || bias?.form === 'low-rank') throw new Error('the forms of the update changed');
  const entries = weight.left.nnz + weight.right.nnz;
  const document = JSON.parse(stdout);
  // Bound, density and the size in fp16 speak of what is coded: two factors, and the bias.
  const factors = 6 * (ROWS + COLUMNS);
  expect(document).toMatchObject({ kind: 'update', encoder, lowRank: 1, entries: entries + bias!.nnz });
  expect(document).toMatchObject({ elements: ROWS * COLUMNS + COLUMNS, codedElements: factors + COLUMNS });
  expect(document.density).toBe(document.entries / document.codedElements);
  expect(document.fp16Bytes).toBe(2 * document.codedElements);
  const bound = entropyBoundBits(document.density, document.codedElements) / 8;
  expect(document.entropyBoundBytes).toBe(Math.ceil(bound));
  expect(document.golombBytes).toBeGreaterThanOrEqual(document.payloadBytes);
  expect(document.tensors).toEqual([
    {
      ...{ name: 'bias', shape: [COLUMNS], form: 'ternary', rank: null, scale: 0.25, entries: bias!.nnz },
      density: bias!.nnz / COLUMNS,
    },
    {
      ...{ name: 'weight', shape: [ROWS, COLUMNS], form: 'low-rank', rank: 6, scale: 0.375, entries },
      density: entries / factors,
    },
  ]);
  const text = await runInProcess(['inspect', path('first')]);
  expect(text.stdout).toMatch(/weight +\[40, 60\] +low-rank +6 /);
});

test('inspect measures a bare payload with low-rank tensors when it knows the base', async () => {
  await writeFile(path('payload'), encodeTernarySync(table, first));
  const { code, stdout } = await runInProcess([
    'inspect',
    path('payload'),
    '--base',
    path('base.safetensors'),
    '--json',
  ]);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ kind: 'payload', checked: true, coded: 2, lowRank: 1 });
});

test('decode writes the dense product', async () => {
  const out = path('vector.safetensors');
  const decoded = await runInProcess(['decode', path('first'), '--out', out, '--json']);
  expect(decoded.code).toBe(0);
  const vector = await openCheckpoint(out);
  for (const t of first) expect(await vector.readFloat32(table[t.index]!.name)).toEqual(dense(t));
  await vector.close();
});

test('a merge reads the dense product, with the norm of the payload', async () => {
  const base = await openCheckpoint(path('base.safetensors'));
  expect(floatTable(base)).toEqual(table);
  const source = await openTaskVector(path('first'), base, foldTensors(base, null));
  let squares = 0;
  for (const t of first) {
    const out = new Float32Array(t.elements);
    expect(await source.read(t.index, out)).toBe(true);
    expect(out).toEqual(dense(t));
    squares += out.reduce((sum, value) => sum + value * value, 0);
  }
  expect(source.norm).toBeCloseTo(Math.sqrt(squares), 10);
  await source.close();
  await base.close();
});

test('kinship compares low-rank updates as their dense products', async () => {
  const { code, stdout } = await runInProcess(['kinship', path('first'), path('second'), '--json']);
  expect(code).toBe(0);
  const document = JSON.parse(stdout);
  const [x, y] = [first, second].map((tensors) => tensors.flatMap((t) => [...dense(t)]));
  const inner = x!.reduce((sum, value, i) => sum + value * y![i]!, 0);
  const cosine = inner / (Math.hypot(...x!) * Math.hypot(...y!));
  expect(document.pairs[0].cosine).toBeCloseTo(cosine, 12);
  expect(document.kinship[0].cosine).toBeCloseTo(cosine, 6);
  const withBase = ['kinship', path('first'), path('second'), '--base', path('base.safetensors'), '--json'];
  const uncompressed = JSON.parse((await runInProcess(withBase)).stdout);
  expect(uncompressed.pairs[0].cosine).toBeCloseTo(cosine, 12);
});
