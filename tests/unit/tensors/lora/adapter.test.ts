import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { AlignPolicy, TensorDifference } from '../../../../src/codec/align.ts';
import { type Checkpoint, openLoraAdapter } from '../../../../src/tensors/index.ts';
import { failure } from '../files.ts';
import { CONFIG, deltaOf, linear, makeAdapter, makeBase, openAdapter, type Plans, productOf } from './support.ts';

const Q = 'model.layers.0.q_proj';
const BASE: Plans = { [`${Q}.weight`]: { shape: [5, 7] }, 'model.norm.weight': { shape: [7] } };

async function refused(base: Checkpoint, plans: Plans, config: unknown = CONFIG, policy: AlignPolicy = {}) {
  const dir = await makeAdapter(plans, config);
  return failure(() => openLoraAdapter(dir, base, { policy }));
}

describe('names', () => {
  test('of PEFT lead to the weights of the base', async () => {
    const adapter = await openAdapter(await makeBase(BASE), linear(Q, 5, 7));
    expect([...adapter.lowRank.keys()]).toEqual([`${Q}.weight`]);
    expect([adapter.full.size, adapter.notes, adapter.renaming]).toEqual([0, [], { strip: '', add: '' }]);
  });

  test('without base_model.model. are taken too', async () => {
    const plans = linear(Q, 5, 7);
    const bare = Object.fromEntries(
      Object.entries(plans).map(([name, plan]) => [name.replace('base_model.model.', ''), plan]),
    );
    expect([...(await openAdapter(await makeBase(BASE), bare)).lowRank.keys()]).toEqual([`${Q}.weight`]);
  });

  test('of attention with one projection lead to in_proj_weight, and below wrappers to the module itself', async () => {
    const base = await makeBase({
      'attn.in_proj_weight': { shape: [12, 4] },
      'attn.out_proj.weight': { shape: [4, 4] },
    });
    const adapter = await openAdapter(base, { ...linear('attn', 12, 4), ...linear('attn.base_layer.out_proj', 4, 4) });
    expect([...adapter.lowRank.keys()].sort()).toEqual(['attn.in_proj_weight', 'attn.out_proj.weight']);
  });

  test('that miss the base are all listed, with the base that the adapter asks for, before any tensor is read', async () => {
    const base = await makeBase(BASE);
    const plans = { ...linear(Q, 5, 7), ...linear('lm_head', 9, 7), ...linear('model.layers.1.q_proj', 5, 7) };
    const config = { ...CONFIG, base_model_name_or_path: 'org/other' };
    const error = await refused(base, plans, config);
    expect(error.code).toBe('ADAPTER_MISMATCH');
    const differences = error.fields.differences as TensorDifference[];
    expect(differences.map(({ problem, tensor }) => [problem, tensor])).toEqual([
      ['extra', 'lm_head.weight'],
      ['extra', 'model.layers.1.q_proj.weight'],
    ]);
    expect(error.message).toContain('--extra ignore');
    expect(error.message).toContain('org/other');
    const adapter = await openAdapter(base, plans, config, { policy: { extra: 'ignore' } });
    expect([[...adapter.lowRank.keys()], adapter.notes.length]).toEqual([[`${Q}.weight`], 2]);
  });

  test.each([
    ['more', 'layers.0.q_proj', Q, { strip: '', add: 'model.' }],
    ['less', `base.${Q}`, Q, { strip: 'base.', add: '' }],
    ['less of two parts', `text.decoder.${Q}`, Q, { strip: 'text.decoder.', add: '' }],
  ])('with one prefix %s are resolved', async (_what, own, module, renaming) => {
    const base = await makeBase({ [`${module}.weight`]: { shape: [5, 7] } });
    const adapter = await openAdapter(base, linear(own, 5, 7));
    expect([[...adapter.lowRank.keys()], adapter.renaming]).toEqual([[`${module}.weight`], renaming]);
  });

  test('with a prefix follow it in whole tensors too, and what has no prefix stays', async () => {
    const base = await makeBase({
      'layers.0.q.weight': { shape: [5, 7] },
      'norm.weight': { shape: [7] },
      'lm_head.weight': { shape: [9, 7] },
    });
    const plans: Plans = {
      ...linear('model.layers.0.q', 5, 7),
      ...linear('lm_head', 9, 7),
      'base_model.model.model.norm.weight': { shape: [7] },
    };
    const adapter = await openAdapter(base, plans);
    expect([...adapter.lowRank.keys()].sort()).toEqual(['layers.0.q.weight', 'lm_head.weight']);
    expect([...adapter.full]).toEqual([['norm.weight', 'base_model.model.model.norm.weight']]);
  });

  test('that several prefixes fit are refused, and all the prefixes named', async () => {
    const base = await makeBase({ 'text.q.weight': { shape: [5, 7] }, 'vision.q.weight': { shape: [5, 7] } });
    const error = await refused(base, linear('q', 5, 7));
    expect([error.code, error.fields.prefixes]).toEqual(['ADAPTER_AMBIGUOUS', ['with "text."', 'with "vision."']]);
  });

  test('of which one prefix fits all and another one only some are resolved', async () => {
    const base = await makeBase({
      'text.q.weight': { shape: [5, 7] },
      'text.k.weight': { shape: [5, 7] },
      'vision.q.weight': { shape: [5, 7] },
    });
    const adapter = await openAdapter(base, { ...linear('q', 5, 7), ...linear('k', 5, 7) });
    expect([...adapter.lowRank.keys()].sort()).toEqual(['text.k.weight', 'text.q.weight']);
  });
});

describe('shapes', () => {
  test('that differ from the base are listed, and can be let pass', async () => {
    const base = await makeBase(BASE);
    const plans = linear(Q, 5, 8);
    const error = await refused(base, plans);
    expect(error.fields.differences).toEqual([
      { checkpoint: 'fine-tune', problem: 'reshaped', tensor: `${Q}.weight`, expected: [5, 7], found: [5, 8] },
    ]);
    expect(error.message).toContain('--reshaped unchanged');
    const adapter = await openAdapter(base, plans, CONFIG, { policy: { reshaped: 'unchanged' } });
    expect([adapter.lowRank.size, adapter.notes.length]).toEqual([0, 1]);
  });

  test('of a grouped convolution are told as reshaped', async () => {
    const base = await makeBase({ 'c.weight': { shape: [4, 2, 3, 3] } });
    const plans: Plans = {
      'base_model.model.c.lora_A.weight': { shape: [2, 4, 3, 3] },
      'base_model.model.c.lora_B.weight': { shape: [4, 1, 1, 1] },
    };
    expect((await refused(base, plans)).code).toBe('ADAPTER_FACTORS_INVALID');
  });

  test('decide the orientation where they can, whatever the flag says', async () => {
    const base = await makeBase({ 'a.weight': { shape: [5, 7] }, 'b.weight': { shape: [7, 5] } });
    const plans = { ...linear('a', 5, 7), ...linear('b', 5, 7) };
    for (const flag of [true, false]) {
      const adapter = await openAdapter(base, plans, { ...CONFIG, fan_in_fan_out: flag });
      expect([
        adapter.lowRank.get('a.weight')!.left.transposed,
        adapter.lowRank.get('b.weight')!.left.transposed,
      ]).toEqual([false, true]);
    }
  });

  test('that contradict the flag leave square weights without an orientation: refused', async () => {
    const base = await makeBase({ 'a.weight': { shape: [5, 7] }, 's.weight': { shape: [6, 6] } });
    const plans = { ...linear('a', 5, 7), ...linear('s', 6, 6) };
    const error = await refused(base, plans, { ...CONFIG, fan_in_fan_out: true });
    expect([error.code, error.fields.tensors]).toEqual(['ADAPTER_ORIENTATION_UNKNOWN', ['s.weight']]);
    expect((await openAdapter(base, plans)).lowRank.size).toBe(2);
  });

  test('of embeddings say nothing about the flag', async () => {
    const base = await makeBase({ 'e.weight': { shape: [11, 4] }, 's.weight': { shape: [6, 6] } });
    const plans: Plans = {
      ...linear('s', 6, 6),
      'base_model.model.e.lora_embedding_A': { shape: [2, 11] },
      'base_model.model.e.lora_embedding_B': { shape: [4, 2] },
    };
    expect((await openAdapter(base, plans)).lowRank.size).toBe(2);
  });
});

describe('factors that do not belong together are all listed', () => {
  const a = `base_model.model.${Q}.lora_A.weight`;
  const b = `base_model.model.${Q}.lora_B.weight`;
  test.each<[string, Plans, RegExp]>([
    ['no B', { [a]: { shape: [2, 7] } }, /has no B/],
    ['no A', { [b]: { shape: [5, 2] } }, /has no A/],
    ['ranks that differ', { [a]: { shape: [2, 7] }, [b]: { shape: [5, 3] } }, /do not multiply/],
    ['one dimension', { [a]: { shape: [14] }, [b]: { shape: [10] } }, /do not multiply/],
    ['kernels in B', { [a]: { shape: [2, 7, 3] }, [b]: { shape: [5, 2, 3] } }, /do not multiply/],
    ['no elements', { [a]: { shape: [0] }, [b]: { shape: [0] } }, /no elements/],
    ['integers', { [a]: { shape: [2, 7], dtype: 'I8' }, [b]: { shape: [5, 2], dtype: 'I8' } }, /is I8/],
    ['another rank than configured', linear(Q, 5, 7, 4), /rank 4, its configuration says 2/],
    ['two kinds', { ...linear(Q, 5, 7), [`base_model.model.${Q}.lora_embedding_A`]: { shape: [2, 5] } }, /two kinds/],
    ['a second A', { ...linear(Q, 5, 7), [`${Q}.lora_A.weight`]: { shape: [2, 7] } }, /A twice/],
    [
      'embeddings with kernels',
      { [`${Q}.lora_embedding_A`]: { shape: [2, 7, 1] }, [`${Q}.lora_embedding_B`]: { shape: [5, 2, 1] } },
      /multiply/,
    ],
  ])('%s', async (_what, plans, fault) => {
    const error = await refused(await makeBase(BASE), plans);
    expect(error.code).toBe('ADAPTER_FACTORS_INVALID');
    expect((error.fields.faults as string[]).join()).toMatch(fault);
    expect(error.message).toContain('q_proj');
  });

  test('a weight that is no float in the base', async () => {
    const base = await makeBase({ [`${Q}.weight`]: { shape: [5, 7], dtype: 'U8' } });
    expect((await refused(base, linear(Q, 5, 7))).message).toContain('use the unquantised base');
  });

  test('two modules for one weight', async () => {
    const base = await makeBase({ 'x.q.weight': { shape: [5, 7] }, 'k.weight': { shape: [5, 7] } });
    const plans = { ...linear('m.x.q', 5, 7), ...linear('x.q', 5, 7), ...linear('m.k', 5, 7) };
    expect((await refused(base, plans)).message).toContain('two modules');
  });
});

describe('tensors of other kinds', () => {
  test.each([
    ['lora_magnitude_vector', `base_model.model.${Q}.lora_magnitude_vector`, 'DoRA'],
    ['a bias of B', `base_model.model.${Q}.lora_B.bias`, 'bias'],
    ['an adapter name inside', `base_model.model.${Q}.lora_A.other.weight`, 'a name of their own'],
    ['something of lora_', `base_model.model.${Q}.lora_diag`, 'lora_diag'],
    ['token embeddings', 'base_model.model.embed.token_adapter.trainable_tokens_delta', 'token embeddings'],
  ])('%s are refused by name', async (_what, name, feature) => {
    const error = await refused(await makeBase(BASE), { ...linear(Q, 5, 7), [name]: { shape: [5] } });
    expect([error.code, error.fields.tensor]).toEqual(['ADAPTER_UNSUPPORTED', name]);
    expect(error.message).toContain(feature);
  });

  test('an adapter without any is refused', async () => {
    expect((await refused(await makeBase(BASE), {})).code).toBe('ADAPTER_EMPTY');
  });
});

describe('whole tensors', () => {
  test('are taken under the names of PEFT, old and new', async () => {
    const base = await makeBase({ ...BASE, 'score.weight': { shape: [2, 7] }, 'score.bias': { shape: [2] } });
    const adapter = await openAdapter(base, {
      ...linear(Q, 5, 7),
      'base_model.model.score.weight': { shape: [2, 7], dtype: 'F16' },
      'base_model.model.score.modules_to_save.bias': { shape: [2] },
      'base_model.model.model.norm.modules_to_save.default.weight': { shape: [7] },
    });
    expect([...adapter.full.keys()].sort()).toEqual(['model.norm.weight', 'score.bias', 'score.weight']);
  });

  test('alone make an adapter too', async () => {
    const base = await makeBase(BASE);
    const adapter = await openAdapter(base, { 'base_model.model.model.norm.weight': { shape: [7] } });
    expect([adapter.lowRank.size, adapter.full.size]).toEqual([0, 1]);
  });

  test('that the base lacks, has in another shape or as no float are listed', async () => {
    const base = await makeBase({ ...BASE, 'embed.weight': { shape: [9, 7] }, counter: { shape: [1], dtype: 'I64' } });
    const error = await refused(base, {
      ...linear(Q, 5, 7),
      'base_model.model.score.weight': { shape: [2, 7] },
      'base_model.model.embed.weight': { shape: [10, 7] },
      'base_model.model.model.norm.weight': { shape: [7], dtype: 'I32' },
      // Integers are copied from the base and may be anything.
      'base_model.model.counter': { shape: [2], dtype: 'I64' },
      'base_model.model.other': { shape: [2], dtype: 'I64' },
    });
    const differences = error.fields.differences as TensorDifference[];
    expect(differences.map(({ problem, tensor }) => [problem, tensor]).sort()).toEqual([
      ['extra', 'base_model.model.score.weight'],
      ['not a float tensor', 'model.norm.weight'],
      ['reshaped', 'embed.weight'],
    ]);
  });

  test('beside factors of the same weight are passed over while they are those of the base, in any dtype', async () => {
    const values = Array.from({ length: 44 }, (_, i) => i / 4);
    const base = await makeBase({ 'e.weight': { shape: [11, 4], values, dtype: 'BF16' } });
    const plans = (changed: number): Plans => ({
      'base_model.model.e.lora_embedding_A': { shape: [2, 11] },
      'base_model.model.e.lora_embedding_B': { shape: [4, 2] },
      'base_model.model.e.base_layer.weight': { shape: [11, 4], values: [...values.slice(0, 43), changed] },
    });
    const adapter = await openAdapter(base, plans(43 / 4));
    expect([adapter.lowRank.size, adapter.full.size]).toEqual([1, 0]);
    const error = await refused(base, plans(1));
    expect([error.code, error.fields.tensor]).toEqual(['ADAPTER_UNSUPPORTED', 'e.weight']);
  });

  test('that repeat another one under a name that a base with tied weights lacks are left out', async () => {
    const base = await makeBase({ ...BASE, 'embed.weight': { shape: [9, 7] } });
    const values = Array.from({ length: 63 }, (_, i) => i / 8);
    const plans = (last: number): Plans => ({
      ...linear(Q, 5, 7),
      'base_model.model.embed.weight': { shape: [9, 7], values },
      'base_model.model.lm_head.weight': { shape: [9, 7], values: [...values.slice(0, 62), last] },
    });
    const adapter = await openAdapter(base, plans(62 / 8));
    expect(adapter.notes).toMatchObject([{ problem: 'extra', tiedTo: 'embed.weight' }]);
    expect((await refused(base, plans(0))).code).toBe('ADAPTER_MISMATCH');
  });
});

describe('the files', () => {
  test.each([
    ['html', '<!DOCTYPE html><html><body>404</body></html>'],
    ['lfs-pointer', `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 18\n`],
    ['pickle', '\x80\x02}q\x00(X\x01\x00\x00\x00a'],
    ['zip', `PK\x03\x04\x00\x00\x08\x08${'\0'.repeat(600)}`],
    ['gguf', `GGUF${'\0'.repeat(60)}`],
  ])('adapter_model.safetensors that is a %s is named', async (kind, text) => {
    const base = await makeBase(BASE);
    const dir = await makeAdapter(linear(Q, 5, 7));
    await writeFile(join(dir, 'adapter_model.safetensors'), Buffer.from(text, 'latin1'));
    const error = await failure(() => openLoraAdapter(dir, base));
    expect([error.code, error.fields.kind]).toEqual(['NOT_SAFETENSORS', kind]);
  });

  test('stay open until the adapter is closed, and the base after that', async () => {
    const base = await makeBase(BASE);
    const plans = linear(Q, 5, 7);
    const adapter = await openAdapter(base, plans);
    expect(await deltaOf(adapter, base, `${Q}.weight`)).toEqual(productOf(plans, Q, 3).flat());
    await adapter.close();
    await adapter.close();
    expect((await failure(() => deltaOf(adapter, base, `${Q}.weight`))).code).toBe('CLOSED');
    expect((await base.readFloat32('model.norm.weight')).length).toBe(7);
  });
});
