import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { type AlignPolicy, alignTensors, type TensorDifference } from '../../../src/codec/align.ts';
import { CodecError } from '../../../src/codec/errors.ts';
import { tableOf } from '../../../src/codec/table.ts';
import { SHOWN_DIFFERENCES } from '../../../src/tensors/differences.ts';
import {
  type Checkpoint,
  createSafetensors,
  type Dtype,
  dtypeBytes,
  openCheckpoint,
} from '../../../src/tensors/index.ts';

type Tensors = Record<string, { dtype?: Dtype; shape: number[]; fill?: (i: number) => number }>;

const open: Checkpoint[] = [];
const dirs: string[] = [];
afterEach(async () => {
  for (const checkpoint of open.splice(0)) await checkpoint.close();
  for (const dir of dirs.splice(0)) await rm(dir, { recursive: true, force: true });
});

/** A real file whose tensors have the bytes that `fill` gives, or zeros. */
async function checkpoint(tensors: Tensors): Promise<Checkpoint> {
  const dir = await mkdtemp(join(tmpdir(), 'kinmerge-align-'));
  dirs.push(dir);
  const path = join(dir, 'x.safetensors');
  const plans = Object.entries(tensors).map(([name, { dtype = 'F32', shape }]) => ({ name, dtype, shape }));
  const writer = await createSafetensors(path, plans);
  for (const { name, dtype, shape } of plans) {
    const length = shape.reduce((a, b) => a * b, 1) * dtypeBytes(dtype);
    await writer.write(
      name,
      Uint8Array.from({ length }, (_, i) => tensors[name]!.fill?.(i) ?? 0),
    );
  }
  await writer.commit();
  const opened = await openCheckpoint(path);
  open.push(opened);
  return opened;
}

async function align(base: Tensors, finetune: Tensors, policy?: AlignPolicy) {
  const [a, b] = [await checkpoint(base), await checkpoint(finetune)];
  return alignTensors(a, b, tableOf(a), policy);
}

async function refused(base: Tensors, finetune: Tensors, policy?: AlignPolicy): Promise<CodecError> {
  const error = await align(base, finetune, policy).catch((cause: unknown) => cause);
  expect(error).toBeInstanceOf(CodecError);
  expect((error as CodecError).code).toBe('TENSOR_MISMATCH');
  return error as CodecError;
}

const differences = (error: CodecError) => error.fields.differences as TensorDifference[];
const noise = (seed: number) => (i: number) => (i * 31 + seed * 7 + (i >> 3)) & 0x3f;

describe('tensors that agree', () => {
  test('in names and shapes are taken as they are, whatever the dtypes, and integers may differ', async () => {
    const base: Tensors = {
      a: { shape: [2, 3] },
      b: { shape: [4], dtype: 'BF16' },
      step: { shape: [1], dtype: 'I64' },
    };
    const finetune: Tensors = { a: { shape: [2, 3], dtype: 'F16' }, b: { shape: [4], dtype: 'F8_E4M3' } };
    expect(await align(base, finetune)).toEqual({ names: ['a', 'b'], notes: [] });
  });

  test('need no bytes: a source without chunks will do', async () => {
    const a = await checkpoint({ a: { shape: [2] } });
    const bare = { tensors: a.tensors };
    expect(await alignTensors(bare, bare, tableOf(a))).toEqual({ names: ['a'], notes: [] });
  });
});

describe('differences', () => {
  const base: Tensors = { a: { shape: [2, 3] }, b: { shape: [4] }, c: { shape: [5] } };
  const finetune: Tensors = { a: { shape: [3, 2] }, b: { shape: [4] }, d: { shape: [1] } };

  test('are all listed, with the flag for each kind', async () => {
    const error = await refused(base, finetune);
    expect(differences(error)).toEqual([
      { checkpoint: 'fine-tune', problem: 'reshaped', tensor: 'a', expected: [2, 3], found: [3, 2] },
      { checkpoint: 'fine-tune', problem: 'missing', tensor: 'c', expected: [5] },
      { checkpoint: 'fine-tune', problem: 'extra', tensor: 'd', found: [1] },
    ]);
    for (const flag of ['--missing unchanged', '--extra ignore', '--reshaped unchanged']) {
      expect(error.message).toContain(flag);
    }
    expect(error.message).toContain('"a" is reshaped (expected [2,3], found [3,2])');
  });

  test.each([
    ['missing', { missing: 'unchanged' }, ['reshaped', 'extra']],
    ['extra', { extra: 'ignore' }, ['reshaped', 'missing']],
    ['reshaped', { reshaped: 'unchanged' }, ['missing', 'extra']],
  ] as const)('%s ones pass alone with their flag, and only the other flags are named', async (name, policy, left) => {
    const error = await refused(base, finetune, policy);
    expect(differences(error).map(({ problem }) => problem)).toEqual(left);
    expect(error.message).not.toContain(`--${name}`);
  });

  test('that the policy accepts are unchanged positions and notes', async () => {
    const policy = { missing: 'unchanged', extra: 'ignore', reshaped: 'unchanged' } as const;
    const { names, notes } = await align(base, finetune, policy);
    expect(names).toEqual([null, 'b', null]);
    expect(notes.map(({ problem, tensor }) => [problem, tensor])).toEqual([
      ['reshaped', 'a'],
      ['missing', 'c'],
      ['extra', 'd'],
    ]);
  });

  test('beyond the bound are counted in the message and complete in the fields', async () => {
    const names = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`t${i}`, { shape: [1] }]));
    const exact = await refused(names(SHOWN_DIFFERENCES), {});
    expect(exact.message).not.toContain('more');
    const error = await refused(names(SHOWN_DIFFERENCES + 3), {});
    expect(error.message).toContain('and 3 more');
    expect(differences(error)).toHaveLength(SHOWN_DIFFERENCES + 3);
  });

  test('a float tensor that meets an integer one is named with its dtype, and no flag lets it pass', async () => {
    const policy = { missing: 'unchanged', extra: 'ignore', reshaped: 'unchanged' } as const;
    const error = await refused({ a: { shape: [2] } }, { a: { shape: [2], dtype: 'I8' } }, policy);
    expect(error.message).toContain('"a" is not a float tensor but I8');
    expect(error.message).toContain('unquantised');
  });

  test('of the base itself are never let pass', async () => {
    const [a, b] = [
      await checkpoint({ a: { shape: [2] } }),
      await checkpoint({ a: { shape: [2] }, b: { shape: [1] } }),
    ];
    const policy = { missing: 'unchanged', extra: 'ignore', reshaped: 'unchanged' } as const;
    const error = await alignTensors(a, b, tableOf(b), policy).catch((cause: unknown) => cause);
    expect((error as CodecError).fields.differences).toEqual([
      { checkpoint: 'base', problem: 'missing', tensor: 'b', expected: [1] },
    ]);
  });

  test('are shown without control characters', async () => {
    const error = await refused({ a: { shape: [1] } }, { a: { shape: [1] }, 'x\u001b[31m': { shape: [1] } });
    expect(error.message).toContain('"x\\u{1b}[31m"');
  });
});

describe('tied weights', () => {
  const embed = { shape: [64, 40], fill: noise(1) };

  test('that the base stores twice and the fine-tune once are read from the one that is there', async () => {
    const base: Tensors = {
      'embed.weight': embed,
      'lm_head.weight': embed,
      other: { shape: [64, 40], fill: noise(2) },
    };
    const finetune: Tensors = { 'embed.weight': { ...embed, fill: noise(3) }, other: base.other! };
    const { names, notes } = await align(base, finetune);
    expect(names).toEqual(['embed.weight', 'embed.weight', 'other']);
    expect(notes).toEqual([
      {
        checkpoint: 'fine-tune',
        problem: 'missing',
        tensor: 'lm_head.weight',
        expected: [64, 40],
        tiedTo: 'embed.weight',
      },
    ]);
  });

  test('that the base stores once and the fine-tune twice are left out, as long as they are still equal', async () => {
    const finetune: Tensors = { 'embed.weight': embed, 'lm_head.weight': embed };
    const { names, notes } = await align({ 'embed.weight': embed }, finetune);
    expect(names).toEqual(['embed.weight']);
    expect(notes).toMatchObject([{ problem: 'extra', tensor: 'lm_head.weight', tiedTo: 'embed.weight' }]);

    const untied = {
      ...finetune,
      'lm_head.weight': { ...embed, fill: (i: number) => (i === 2559 * 4 ? 1 : noise(1)(i)) },
    };
    const error = await refused({ 'embed.weight': embed }, untied);
    expect(differences(error).map(({ tensor }) => tensor)).toEqual(['lm_head.weight']);
  });

  test('differ in the base at the last byte only: not tied', async () => {
    const last = 64 * 40 * 4 - 1;
    const base: Tensors = { a: embed, b: { ...embed, fill: (i) => (i === last ? 1 : noise(1)(i)) } };
    expect(differences(await refused(base, { a: embed })).map(({ tensor }) => tensor)).toEqual(['b']);
  });

  test('need the same dtype and shape', async () => {
    const base: Tensors = {
      a: embed,
      b: { ...embed, shape: [40, 64] },
      c: { ...embed, dtype: 'BF16', shape: [128, 40] },
    };
    expect(differences(await refused(base, { a: embed })).map(({ tensor }) => tensor)).toEqual(['b', 'c']);
  });

  test('are not guessed from tensors of one repeated value, such as biases of zeros', async () => {
    const zero = { shape: [8] };
    expect(differences(await refused({ a: zero, b: zero }, { a: zero })).map(({ tensor }) => tensor)).toEqual(['b']);
    const error = await refused({ a: zero }, { a: zero, b: zero });
    expect(differences(error).map(({ tensor }) => tensor)).toEqual(['b']);
  });

  test('that training has made differ do not speak for a third', async () => {
    const base: Tensors = { a: embed, b: embed, c: embed };
    const same = await align(base, { a: { ...embed, fill: noise(5) }, b: { ...embed, fill: noise(5) } });
    expect(same.names).toEqual(['a', 'b', 'a']);
    const error = await refused(base, { a: embed, b: { ...embed, fill: noise(5) } });
    expect(differences(error).map(({ tensor }) => tensor)).toEqual(['c']);
  });

  test('are found before the policy is asked', async () => {
    const { names } = await align({ a: embed, b: embed, c: { shape: [3] } }, { a: embed }, { missing: 'unchanged' });
    expect(names).toEqual(['a', 'a', null]);
  });

  test('are not searched in tensors of another shape, and only a page of most others is read', async () => {
    const big = (seed: number) => ({ shape: [512, 512], fill: noise(seed) });
    const a = await checkpoint({ a: big(1), b: big(2), c: { shape: [7], fill: noise(1) } });
    const b = await checkpoint({ a: big(1), c: { shape: [7], fill: noise(1) } });
    const reads: [string, number | undefined][] = [];
    const spying = {
      tensors: a.tensors,
      chunks: (name: string, options = {}) => {
        reads.push([name, (options as { chunkBytes?: number }).chunkBytes]);
        return a.chunks(name, options);
      },
    };
    await expect(alignTensors(spying, b, tableOf(a))).rejects.toThrow(CodecError);
    expect(reads).toEqual([
      ['b', 4096],
      ['a', 4096],
    ]);
  });

  test('end with an abort', async () => {
    const [a, b] = [await checkpoint({ a: embed, b: embed }), await checkpoint({ a: embed })];
    const aligning = alignTensors(a, b, tableOf(a), {}, { signal: AbortSignal.abort() });
    await expect(aligning).rejects.toThrow(expect.objectContaining({ name: 'AbortError' }));
  });
});

describe('a quantised checkpoint is named with its scheme', () => {
  const weight = { 'l.weight': { shape: [4, 4] } };
  const cases: [scheme: string, tensors: Tensors][] = [
    ['bitsandbytes, 4 bits', { 'l.weight': { shape: [8, 1], dtype: 'U8' }, 'l.weight.absmax': { shape: [1] } }],
    [
      'bitsandbytes, 4 bits',
      {
        'l.weight': { shape: [8, 1], dtype: 'U8' },
        'l.weight.quant_state.bitsandbytes__nf4': { shape: [9], dtype: 'U8' },
      },
    ],
    ['bitsandbytes, 8 bits', { 'l.weight': { shape: [4, 4], dtype: 'I8' }, 'l.SCB': { shape: [4] } }],
    ['GPTQ or AWQ', { 'l.qweight': { shape: [1, 4], dtype: 'I32' }, 'l.scales': { shape: [1, 4], dtype: 'F16' } }],
    ['compressed-tensors', { 'l.weight_packed': { shape: [4, 1], dtype: 'I32' }, 'l.weight_scale': { shape: [4, 1] } }],
    [
      '8-bit weights with scales of their own',
      { 'l.weight': { shape: [4, 4], dtype: 'F8_E4M3' }, 'l.weight_scale_inv': { shape: [1, 1] } },
    ],
  ];
  const lenient = { missing: 'unchanged', extra: 'ignore', reshaped: 'unchanged' } as const;

  test.each(cases)('%s', async (scheme, tensors) => {
    const error = await refused(weight, tensors, lenient);
    expect([error.fields.checkpoint, error.fields.scheme]).toEqual(['fine-tune', scheme]);
    expect(error.message).toContain('Use the unquantised weights');
    expect((await refused(tensors, weight, lenient)).fields.checkpoint).toBe('base');
  });

  test('8-bit floats without scales, and scales beside float weights, are not quantised', async () => {
    const plain: Tensors = {
      'l.weight': { shape: [4], dtype: 'F8_E4M3' },
      'm.weight': { shape: [4] },
      'm.weight_scale': { shape: [1] },
    };
    expect((await align(plain, plain)).names).toEqual(['l.weight', 'm.weight', 'm.weight_scale']);
  });
});
