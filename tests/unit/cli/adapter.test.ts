/** A LoRA adapter through the verbs that need no network. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../../src/tensors/index.ts';
import { tempDir } from '../tensors/files.ts';
import { CONFIG, linear, makeAdapter, makeBase, type Plans } from '../tensors/lora/support.ts';
import { runInProcess } from './support.ts';

const Q = 'model.q_proj';
const WEIGHT = `${Q}.weight`;
const [ROWS, COLUMNS, RANK] = [48, 32, 2];
const MODEL: Plans = { 'model.norm.weight': { shape: [COLUMNS] }, [WEIGHT]: { shape: [ROWS, COLUMNS] } };

let base: string;
let adapter: string;
let path: (name: string) => string;

beforeEach(async () => {
  base = (await makeBase(MODEL)).path;
  adapter = await makeAdapter(linear(Q, ROWS, COLUMNS, RANK), { ...CONFIG, base_model_name_or_path: 'org/model' });
  const dir = await tempDir();
  path = (name) => join(dir, name);
});

async function run(...argv: string[]) {
  const { code, stdout } = await runInProcess([...argv, '--json']);
  return { code, document: JSON.parse(stdout) };
}

async function read(file: string, name: string): Promise<Float32Array> {
  const checkpoint = await openCheckpoint(file);
  try {
    return await checkpoint.readFloat32(name);
  } finally {
    await checkpoint.close();
  }
}

describe('an update of an adapter', () => {
  test('travels as factors, and decodes to their product on the base', async () => {
    const encoded = await run('encode', adapter, '--base', base, '--out', path('update'));
    expect(encoded).toMatchObject({ code: 0, document: { lowRank: 1, codedElements: RANK * (ROWS + COLUMNS) } });
    const { scales, bytes } = encoded.document;
    expect(scales).toHaveLength(1);

    const inspected = await run('inspect', path('update'));
    expect(inspected.document).toMatchObject({
      kind: 'update',
      lowRank: 1,
      encoder: encoded.document.settings,
      payloadBytes: bytes,
      entropyBoundBytes: encoded.document.entropyBoundBytes,
      fp16Bytes: encoded.document.fp16Bytes,
    });
    const forms = inspected.document.tensors.map(({ name, form }: { name: string; form: string }) => [name, form]);
    expect(forms).toEqual([
      ['model.norm.weight', 'zero'],
      [WEIGHT, 'low-rank'],
    ]);

    expect((await run('decode', path('update'), '--base', base, '--out', path('vector'))).code).toBe(0);
    const vector = await read(path('vector'), WEIGHT);
    // Whole multiples of the scale, at most the rank of them.
    const multiples = new Set(vector.map((value) => value / scales[0]));
    expect([...multiples].every((k) => Number.isInteger(k) && Math.abs(k) <= RANK)).toBe(true);
    expect(multiples.size).toBeGreaterThan(2);
    expect(await read(path('vector'), 'model.norm.weight')).toEqual(new Float32Array(COLUMNS));

    expect((await run('decode', path('update'), '--base', base, '--apply', '--out', path('applied'))).code).toBe(0);
    const before = await read(base, WEIGHT);
    expect(await read(path('applied'), WEIGHT)).toEqual(before.map((value, i) => value + vector[i]!));
    expect(await read(path('applied'), 'model.norm.weight')).toEqual(await read(base, 'model.norm.weight'));
  });

  test('is kin to the adapter that it was made from', async () => {
    expect((await run('encode', adapter, '--base', base, '--out', path('a'), '--density', '0.9')).code).toBe(0);
    const mixed = await run('kinship', path('a'), adapter, '--base', base);
    expect(mixed.document.kind).toBe('dense');
    expect(mixed.document.pairs[0].cosine).toBeGreaterThan(0.5);
    const same = await run('kinship', path('a'), path('a'));
    expect(same.document).toMatchObject({ kind: 'ternary', pairs: [{ cosine: 1, euclidean: 0 }] });
  });

  test('says to people that it travels as factors', async () => {
    const { stdout } = await runInProcess(['encode', adapter, '--base', base, '--out', path('update')]);
    expect(stdout).toMatch(/^kept \d+\.\d+ %, per tensor, scale 2\.24 x magnitude$/m);
    expect(stdout).toMatch(/^1 tensor travels as low-rank factors$/m);
  });

  test('of another base is refused, and nothing is written', async () => {
    const other = (await makeBase({ 'model.norm.weight': { shape: [COLUMNS] } })).path;
    const refused = await run('encode', adapter, '--base', other, '--out', path('update'));
    expect(refused).toMatchObject({ code: 1, document: { error: { code: 'ADAPTER_MISMATCH' } } });
    expect(refused.document.error.message).toContain('--extra ignore');
    expect((await run('inspect', path('update'))).document).toMatchObject({ error: { code: 'NOT_FOUND' } });
  });
});

test('decode --apply of mixed dtypes adds each tensor to its own', async () => {
  const mixed: Plans = {
    'a.weight': { shape: [8, 8], dtype: 'BF16' },
    'b.weight': { shape: [8, 8], dtype: 'F32' },
    'c.weight': { shape: [8, 8], dtype: 'BF16' },
    'd.weight': { shape: [8, 8], dtype: 'F32' },
  };
  const raised = (name: string, by: number) => Array.from({ length: 64 }, (_, i) => (name.charCodeAt(0) % 5) + i + by);
  const at = (by: (name: string) => number): Plans =>
    Object.fromEntries(
      Object.entries(mixed).map(([name, plan]) => [name, { ...plan, values: raised(name, by(name)) }]),
    );
  const before = (await makeBase(at(() => 0))).path;
  // The third is unchanged, so has no section.
  const steps: Readonly<Record<string, number>> = { 'a.weight': 1, 'b.weight': 2, 'c.weight': 0, 'd.weight': -4 };
  const after = (await makeBase(at((name) => steps[name]!))).path;
  const all = ['--density', '1', '--scale-factor', '1'];
  expect((await run('encode', after, '--base', before, '--out', path('update'), ...all)).code).toBe(0);
  expect((await run('decode', path('update'), '--base', before, '--apply', '--out', path('applied'))).code).toBe(0);
  for (const name of Object.keys(mixed)) {
    expect(await read(path('applied'), name), name).toEqual(await read(after, name));
  }
});

describe('inspect of an adapter', () => {
  test('tells rank, scaling, modules and the name of its base, without that base', async () => {
    const { code, document } = await run('inspect', adapter);
    expect(code).toBe(0);
    expect(document).toMatchObject({
      kind: 'LoRA adapter',
      path: adapter,
      base: 'org/model',
      rank: RANK,
      alpha: 6,
      rankStabilised: false,
      modules: 1,
      parameters: RANK * (ROWS + COLUMNS),
      wholeTensors: [],
      checked: false,
      tensors: [
        { name: Q, shape: [ROWS, COLUMNS], dtype: 'F32', rank: RANK, scaling: 3, parameters: RANK * (ROWS + COLUMNS) },
      ],
    });
    const { stdout } = await runInProcess(['inspect', adapter]);
    expect(stdout).toMatch(/^kind +LoRA adapter$/m);
    expect(stdout).toMatch(new RegExp(`^${Q} +\\[${ROWS}, ${COLUMNS}\\] +F32 +2 +3 +`, 'm'));
  });

  test('names whole tensors, and the tensors of a base that it changes', async () => {
    const norm = 'base_model.model.model.norm.weight';
    const dir = await makeAdapter({ ...linear(Q, ROWS, COLUMNS), [norm]: { shape: [COLUMNS] } });
    const { document } = await run('inspect', dir, '--base', base);
    expect(document).toMatchObject({
      wholeTensors: ['model.norm.weight'],
      base: null,
      checked: true,
      changes: ['model.norm.weight', WEIGHT],
    });
  });

  test('refuses one that does not fit the base, or whose factors do not fit each other', async () => {
    const other = (await makeBase({ 'model.norm.weight': { shape: [COLUMNS] } })).path;
    const misfit = await run('inspect', adapter, '--base', other);
    expect(misfit).toMatchObject({ code: 1, document: { error: { code: 'ADAPTER_MISMATCH' } } });
    const torn = await makeAdapter(linear(Q, ROWS, COLUMNS, 3));
    expect(await run('inspect', torn)).toMatchObject({
      code: 1,
      document: { error: { code: 'ADAPTER_FACTORS_INVALID' } },
    });
    await rm(join(adapter, 'adapter_config.json'));
    expect(await run('inspect', adapter)).toMatchObject({
      code: 1,
      document: { error: { code: 'ADAPTER_CONFIG_MISSING' } },
    });
  });
});
