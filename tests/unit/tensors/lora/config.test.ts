import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { AdapterError, MAX_ADAPTER_CONFIG_BYTES, parseLoraConfig } from '../../../../src/tensors/index.ts';
import { readLoraConfig, scalingOf } from '../../../../src/tensors/lora/config.ts';
import { failure, tempDir } from '../files.ts';

const parse = (config: unknown) =>
  parseLoraConfig(Buffer.from(typeof config === 'string' ? config : JSON.stringify(config)), 'x.json');
const LORA = { peft_type: 'LORA' };

/** What a current PEFT writes for a plain adapter, in its order. */
const PLAIN = {
  alora_invocation_tokens: null,
  alpha_pattern: {},
  arrow_config: null,
  auto_mapping: { base_model_class: 'M', parent_library: 'x' },
  base_model_name_or_path: 'org/base',
  bias: 'none',
  corda_config: null,
  ensure_weight_tying: false,
  eva_config: null,
  exclude_modules: null,
  fan_in_fan_out: false,
  inference_mode: true,
  init_lora_weights: true,
  layer_replication: null,
  layers_pattern: null,
  layers_to_transform: [0, 1],
  loftq_config: {},
  lora_alpha: 32,
  lora_bias: false,
  lora_dropout: 0.05,
  megatron_config: null,
  megatron_core: 'megatron.core',
  modules_to_save: ['score'],
  peft_type: 'LORA',
  peft_version: '0.18.0',
  qalora_group_size: 16,
  r: 16,
  rank_pattern: {},
  revision: null,
  target_modules: ['q_proj', 'v_proj'],
  target_parameters: null,
  task_type: 'CAUSAL_LM',
  trainable_token_indices: null,
  use_bdlora: null,
  use_dora: false,
  use_qalora: false,
  use_rslora: false,
};

describe('the scale of a module', () => {
  test('is alpha / r', () => {
    const config = parse(PLAIN);
    expect([config.rank, config.alpha, config.fanInFanOut, config.baseName]).toEqual([16, 32, false, 'org/base']);
    expect(scalingOf(config, 'q_proj', 16)).toBe(2);
  });

  test('has the defaults of PEFT where the file says nothing', () => {
    const config = parse(LORA);
    expect([config.rank, config.alpha, scalingOf(config, 'm', 8)]).toEqual([8, 8, 1]);
  });

  test('is alpha / sqrt(r) when rank-stabilised', () => {
    expect(scalingOf(parse({ ...PLAIN, use_rslora: true }), 'm', 16)).toBe(8);
  });

  test('takes alpha and rank of the first pattern that matches', () => {
    const config = parse({
      ...PLAIN,
      rank_pattern: { 'layers.1.q_proj': 4, q_proj: 2 },
      alpha_pattern: { q_proj: 7.5, 'layers.1.q_proj': 100 },
    });
    expect([config.ranks.get('model.layers.1.q_proj'), config.ranks.get('model.layers.11.q_proj')]).toEqual([4, 2]);
    expect(config.ranks.get('model.xlayers.1.k_proj')).toBeUndefined();
    expect(scalingOf(config, 'model.layers.1.q_proj', 4)).toBe(7.5 / 4);
  });
});

describe('a pattern', () => {
  const ranks = (pattern: Record<string, number>) => parse({ ...LORA, rank_pattern: pattern }).ranks;

  test('matches a whole name, and its end from a dot on', () => {
    const found = ranks({ 'a.q': 3 });
    expect([found.get('a.q'), found.get('x.a.q'), found.get('xa.q'), found.get('a.q.b')]).toEqual([
      3,
      3,
      undefined,
      undefined,
    ]);
  });

  test('with ^ matches the whole name only, and with \\. a dot', () => {
    const found = ranks({ '^a\\.q': 3, 'b\\.q': 4 });
    expect([found.get('a.q'), found.get('x.a.q'), found.get('x.b.q')]).toEqual([3, undefined, 4]);
  });

  test('of an earlier key wins over a longer one', () => {
    expect(ranks({ q: 1, 'a.q': 2 }).get('a.q')).toBe(1);
    expect(ranks({ '^a.q': 2, q: 1 }).get('a.q')).toBe(2);
  });

  test('may name what objects have', () => {
    expect(ranks({ constructor: 3 }).get('x.constructor')).toBe(3);
    expect(ranks({}).get('__proto__')).toBeUndefined();
  });

  test.each(['.*q_proj', 'q|k', 'layers.[01].q', 'q$', '(q)', 'a+', 'layers.\\d.q', ''])(
    'that is the expression %j is refused by name',
    async (key) => {
      const error = await failure(() => ranks({ [key]: 1 }));
      expect([error.code, error.fields.key]).toEqual(['ADAPTER_UNSUPPORTED', 'rank_pattern']);
      expect(error.message).toContain(JSON.stringify(key));
    },
  );
});

describe('what changes the mathematics is refused by name', () => {
  test.each([
    ['use_dora', true, 'DoRA'],
    ['lora_bias', true, 'lora_bias'],
    ['bias', 'all', 'biases'],
    ['bias', 'lora_only', 'biases'],
    ['layer_replication', [[0, 4]], 'layer_replication'],
    ['trainable_token_indices', [1, 2], 'trainable_token_indices'],
    ['trainable_token_indices', { embed_tokens: [1] }, 'trainable_token_indices'],
    ['target_parameters', ['experts.down_proj'], 'target_parameters'],
    ['alora_invocation_tokens', [1], 'aLoRA'],
    ['alora_invocation_string', 'hi', 'aLoRA'],
    ['use_qalora', true, 'QALoRA'],
    ['use_bdlora', { target_modules_bd_a: ['q'] }, 'BD-LoRA'],
    ['arrow_config', { top_k: 2 }, 'Arrow'],
    ['kasa_config', { beta: 1 }, 'KaSA'],
    ['monteclora_config', { n: 1 }, 'MonteCLoRA'],
    ['megatron_config', { x: 1 }, 'megatron_config'],
    ['enable_lora', [true, false, true], 'enable_lora'],
    ['init_lora_weights', 'pissa', 'changed base'],
    ['init_lora_weights', 'pissa_niter_16', 'changed base'],
    ['init_lora_weights', 'olora', 'changed base'],
    ['init_lora_weights', 'corda', 'changed base'],
    ['init_lora_weights', 'loftq', 'changed base'],
    ['init_lora_weights', 'lora_ga', 'changed base'],
    ['use_newlora', true, 'use_newlora'],
    ['newlora_config', { a: 1 }, 'newlora_config'],
  ])('%s: %j', async (key, value, feature) => {
    const error = await failure(() => parse({ ...PLAIN, [key]: value }));
    expect(error).toBeInstanceOf(AdapterError);
    expect([error.code, error.fields.key]).toEqual(['ADAPTER_UNSUPPORTED', key]);
    expect(error.message).toContain(feature);
    expect(error.message).toContain('merge_and_unload');
  });

  test.each(['ADALORA', 'IA3', 'LOHA', 'PREFIX_TUNING', 'lora'])('peft_type %s', async (type) => {
    const error = await failure(() => parse({ peft_type: type }));
    expect([error.code, error.fields.key]).toEqual(['ADAPTER_UNSUPPORTED', 'peft_type']);
    expect(error.message).toContain(type);
  });
});

describe('what does not matter is passed over', () => {
  test.each([
    ['init_lora_weights', false],
    ['init_lora_weights', 'gaussian'],
    ['init_lora_weights', 'eva'],
    ['init_lora_weights', 'orthogonal'],
    ['init_lora_weights', 'mica'],
    ['eva_config', { rho: 2 }],
    ['corda_config', { x: 1 }],
    ['loftq_config', { loftq_bits: 4 }],
    ['velora_config', { x: 1 }],
    ['runtime_config', { ephemeral_gpu_offload: true }],
    ['exclude_modules', ['lm_head']],
    ['ensure_weight_tying', true],
    ['some_number', 3],
    ['some_text', 'x'],
    ['use_something', false],
    ['new_config', {}],
    ['rank_pattern', null],
    ['base_model_name_or_path', null],
  ])('%s: %j', (key, value) => {
    expect(parse({ ...PLAIN, [key]: value }).rank).toBe(16);
  });
});

describe('a malformed configuration is refused', () => {
  test.each([
    ['no object', '[]'],
    ['cut off', '{"peft_type": "LORA"'],
    ['more than one', '{"peft_type":"LORA"}{}'],
    ['a key twice', '{"peft_type":"LORA","r":4,"r":8}'],
    ['a pattern twice', '{"peft_type":"LORA","rank_pattern":{"q":1,"q":2}}'],
    ['no peft_type', '{"r":8}'],
    ['a peft_type that is no text', '{"peft_type":null}'],
    ['a rank of 0', '{"peft_type":"LORA","r":0}'],
    ['a rank of 2.0', '{"peft_type":"LORA","r":2.0}'],
    ['a negative rank', '{"peft_type":"LORA","r":-1}'],
    ['a rank in quotes', '{"peft_type":"LORA","r":"8"}'],
    ['an alpha that is no number', '{"peft_type":"LORA","lora_alpha":null}'],
    ['an alpha of infinity', '{"peft_type":"LORA","lora_alpha":1e999}'],
    ['an alpha that is NaN', '{"peft_type":"LORA","lora_alpha":NaN}'],
    ['a flag that is a number', '{"peft_type":"LORA","use_rslora":1}'],
    ['a flag in quotes', '{"peft_type":"LORA","fan_in_fan_out":"true"}'],
    ['patterns that are a list', '{"peft_type":"LORA","rank_pattern":["q"]}'],
    ['a pattern without a number', '{"peft_type":"LORA","alpha_pattern":{"q":{}}}'],
    ['nesting without bound', `{"peft_type":"LORA","x":${'['.repeat(5000)}`],
    ['half of a surrogate pair', '{"peft_type":"LORA","x":"\\ud800"}'],
  ])('%s', async (_what, text) => {
    const error = await failure(() => parse(text));
    expect([error.code, error.fields.path]).toEqual(['ADAPTER_CONFIG_INVALID', 'x.json']);
    expect(error.message.length).toBeLessThan(300);
  });

  test('that is not UTF-8', async () => {
    expect((await failure(() => parseLoraConfig(Uint8Array.of(0x7b, 0xff), 'x'))).code).toBe('ADAPTER_CONFIG_INVALID');
  });

  test.each([
    ['html', '<!DOCTYPE html><html>404</html>'],
    ['lfs-pointer', 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n'],
    ['pickle', '\x80\x04\x95'],
    ['zip', 'PK\x03\x04'],
    ['gguf', 'GGUF\x03'],
  ])('that is a %s is named', async (kind, text) => {
    const error = await failure(() => parseLoraConfig(Buffer.from(text, 'latin1'), 'x'));
    expect([error.code, error.fields.kind]).toEqual(['ADAPTER_CONFIG_INVALID', kind]);
  });

  test('above the bound is not read', async () => {
    const path = join(await tempDir(), 'adapter_config.json');
    const padded = (bytes: number) => JSON.stringify(LORA).padEnd(bytes);
    await writeFile(path, padded(MAX_ADAPTER_CONFIG_BYTES));
    expect((await readLoraConfig(path)).rank).toBe(8);
    await writeFile(path, padded(MAX_ADAPTER_CONFIG_BYTES + 1));
    expect((await failure(() => readLoraConfig(path))).code).toBe('ADAPTER_CONFIG_TOO_LARGE');
  });
});
