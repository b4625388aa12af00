import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { encodeTaskVector, openContainer, tableOf } from '../../../src/codec/index.ts';
import {
  CONFIG_BYTES_MAX,
  CONFIG_MODELS_MAX,
  defaultLinear,
  isLinearByDefault,
  parseMergeConfig,
  readMergeConfig,
  runMerge,
} from '../../../src/merge/index.ts';
import {
  checkpointOf,
  differenceOf,
  engineOf,
  fixture,
  foldAll,
  readSum,
  ref,
  relative,
  scratch,
  writeTensors,
} from './helpers.ts';
import { expertPath, vision8 } from './vision8.ts';

const base = fixture('vision8/base.safetensors');
const yaml = (method: string, extra = '') => `
merge_method: ${method}
base_model: ${base}
models:
  - model: ${expertPath('mnist')}
  - model: ${expertPath('gtsrb')}
${extra}`;

describe('the default rule of linear tensors', () => {
  it.each<[string, number[], boolean]>([
    ['blocks.0.mlp.fc1.weight', [384, 96], true],
    ['lm_head.weight', [50, 8], true],
    ['patch_embed.weight', [96, 49], false],
    ['model.embed_tokens.weight', [50, 8], false],
    ['transformer.wte.weight', [50, 8], false],
    ['transformer.wpe.weight', [50, 8], false],
    ['tok_embeddings.weight', [50, 8], false],
    ['position_ids.weight', [50, 8], false],
    ['gate.weight', [1, 8], false],
    ['gate.weight', [8, 1], false],
    ['norm.weight', [8], false],
    ['conv.weight', [8, 3, 2, 2], false],
    ['scalar', [], false],
  ])('%s %j: %s', (name, shape, linear) => {
    expect(isLinearByDefault(name, shape)).toBe(linear);
  });

  it('lists float tensors only', () => {
    const shape = [4, 4];
    expect(
      defaultLinear([
        { name: 'a', shape },
        { name: 'b', shape, dtype: 'I64' },
        { name: 'c', shape, dtype: 'BF16' },
      ]),
    ).toEqual(['a', 'c']);
  });
});

describe('a configuration', () => {
  it('has the defaults of the method', () => {
    expect(parseMergeConfig(yaml('opcm'))).toEqual({
      method: 'opcm',
      base,
      models: [
        { path: expertPath('mnist'), parameters: {} },
        { path: expertPath('gtsrb'), parameters: {} },
      ],
      parameters: { variant: 'ref', alpha: 0.5, scale: 1 },
      linear: null,
      dtype: 'F32',
    });
    expect(parseMergeConfig(yaml('average')).models[0]!.parameters).toEqual({ weight: 1 });
  });

  it('takes what the method knows, and the linear tensors in either place', () => {
    const given = parseMergeConfig(
      yaml('opcm', 'parameters: { variant: lite, alpha: 0.25, scale: 2 }\nlinear_tensors: [a]\ndtype: bfloat16'),
    );
    expect(given).toMatchObject({
      parameters: { variant: 'lite', alpha: 0.25, scale: 2 },
      linear: ['a'],
      dtype: 'BF16',
    });
    expect(parseMergeConfig(yaml('opcm', 'parameters: { linear: [b] }')).linear).toEqual(['b']);
  });

  it.each([
    [yaml('opcm', 'normalize: true'), 'normalize'],
    [yaml('opcm', 'parameters: { alhpa: 0.5 }'), 'parameters.alhpa'],
    [yaml('opcm', 'parameters: { alpha: -1 }'), 'parameters.alpha'],
    [yaml('opcm', 'parameters: { alpha: .inf }'), 'parameters.alpha'],
    [yaml('opcm', 'parameters: { variant: strict }'), 'parameters.variant'],
    [yaml('opcm', 'parameters: { linear: 3 }'), 'parameters.linear'],
    [yaml('opcm', 'parameters: { linear: [a] }\nlinear_tensors: [a]'), 'parameters.linear'],
    [yaml('opcm', 'dtype: int8'), 'dtype'],
    [yaml('ties'), 'merge_method'],
    [yaml('constructor'), 'merge_method'],
    [`${yaml('opcm')}  - modle: x`, 'models[2].model'],
    [`${yaml('opcm')}  - { model: x, weight: 1 }`, 'models[2].weight'],
    [`${yaml('opcm')}  - { model: x, parameters: { weight: 1 } }`, 'models[2].parameters.weight'],
    [`${yaml('average')}  - { model: x, parameters: { weight: -1 } }`, 'models[2].parameters.weight'],
    ['merge_method: opcm\nbase_model: x\nmodels: []', 'models'],
    ['merge_method: opcm\nmodels: [{ model: x }]', 'base_model'],
    ['just text', 'configuration'],
    ['', 'configuration'],
  ])('names the key that is wrong: %#', (text, key) => {
    expect(() => parseMergeConfig(text)).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', fields: expect.objectContaining({ key }) }),
    );
  });

  it.each(['a: [1', 'a: 1\na: 2', '&a [*a, *b]', 'x'.repeat(CONFIG_BYTES_MAX + 1)])(
    'is refused when it is not YAML of fair size: %#',
    (text) => {
      expect(() => parseMergeConfig(text)).toThrow(expect.objectContaining({ code: 'CONFIG_UNREADABLE' }));
    },
  );

  it('takes as many models as are allowed, and not one more', () => {
    const of = (count: number) => yaml('opcm') + '  - model: x\n'.repeat(count - 2);
    expect(parseMergeConfig(of(CONFIG_MODELS_MAX)).models).toHaveLength(CONFIG_MODELS_MAX);
    expect(() => parseMergeConfig(of(CONFIG_MODELS_MAX + 1))).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    );
  });

  it('is refused when aliases would make it explode', () => {
    const levels = Array.from(
      { length: 12 },
      (_, i) => `a${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`).join(', ')}]`,
    );
    expect(() => parseMergeConfig(`a0: &a0 x\n${levels.join('\n')}`)).toThrow(
      expect.objectContaining({ code: 'CONFIG_UNREADABLE' }),
    );
  });

  it('is read from a file, or said to be missing', async () => {
    const path = join(await scratch(), 'merge.yml');
    await writeFile(path, yaml('average'));
    expect((await readMergeConfig(path)).method).toBe('average');
    await expect(readMergeConfig(`${path}.not`)).rejects.toMatchObject({ code: 'CONFIG_UNREADABLE' });
  });
});

describe('an offline merge', () => {
  it('by opcm gives what the fold gives, and leaves only the checkpoint', async () => {
    const dir = await scratch();
    const out = join(dir, 'merged');
    const progress: string[] = [];
    const report = await runMerge(parseMergeConfig(yaml('opcm', 'parameters: { scale: 1.5 }')), out, {
      workers: 1,
      onProgress: ({ phase }) => progress.push(phase),
    });
    expect(await readdir(dir)).toEqual(['merged']);
    expect(report).toMatchObject({ method: 'opcm', tensors: 53 });
    expect(report.linear).toHaveLength(16);
    expect(report.device).toMatch(/^cpu/);
    expect(new Set(progress)).toEqual(new Set(['folding', 'writing']));

    const { base: opened, tensors, open } = await vision8();
    const states = await scratch();
    const updates = [await open('mnist'), await open('gtsrb')];
    const { state, summaries } = await foldAll(states, tensors, updates, await engineOf(2), ref);
    expect(report.lambda).toBe(summaries[1]!.lambda);
    expect(report.norms).toEqual(summaries.map(({ updateNorm }) => updateNorm));
    const sums = await readSum(state);
    for (const [name, change] of Object.entries(await differenceOf(opened, await checkpointOf(out)))) {
      expect(
        relative(
          change,
          sums.get(name)!.map((s) => (1.5 * s) / report.lambda!),
        ),
      ).toBeLessThan(1e-4);
    }
  });

  it('by average gives the weighted mean of the task vectors', async () => {
    const dir = await scratch();
    const config = parseMergeConfig(
      `{ merge_method: average, base_model: ${base}, parameters: { scale: 2 }, models: [{ model: ${expertPath('mnist')}, parameters: { weight: 3 } }, { model: ${expertPath('gtsrb')} }] }`,
    );
    const report = await runMerge(config, join(dir, 'mean'));
    expect(report).toMatchObject({ method: 'average', lambda: null, norms: null, device: null });
    const opened = await checkpointOf(base);
    const a = await differenceOf(opened, await checkpointOf(expertPath('mnist')));
    const b = await differenceOf(opened, await checkpointOf(expertPath('gtsrb')));
    for (const [name, change] of Object.entries(await differenceOf(opened, await checkpointOf(join(dir, 'mean'))))) {
      expect(
        relative(
          change,
          a[name]!.map((x, i) => (2 * (3 * x + b[name]![i]!)) / 4),
        ),
      ).toBeLessThan(1e-4);
    }
  });

  it('agrees with the golden average', async () => {
    const golden = await checkpointOf(fixture('golden/merge.safetensors'));
    const dir = await scratch();
    const names = [...golden.tensors.keys()]
      .filter((name) => name.startsWith('expected.average.'))
      .map((name) => name.slice(17));
    expect(names.length).toBeGreaterThan(2);
    const shapeOf = (name: string) => golden.tensors.get(`tv0.${name}`)!.shape;
    const write = async (file: string, valuesOf: (name: string) => Promise<Float32Array>) =>
      writeTensors(
        join(dir, file),
        await Promise.all(names.map(async (name) => ({ name, shape: shapeOf(name), values: await valuesOf(name) }))),
      );
    // Against a base of zeros the task vectors are the models themselves, free of rounding.
    await write('zero', async (name) => new Float32Array(shapeOf(name).reduce((x, y) => x * y, 1)));
    for (const i of [0, 1, 2]) await write(`tv${i}`, (name) => golden.readFloat32(`tv${i}.${name}`));
    const models = [0, 1, 2].map((i) => `{ model: ${join(dir, `tv${i}`)} }`).join(', ');
    const config = parseMergeConfig(`{ merge_method: average, base_model: ${join(dir, 'zero')}, models: [${models}] }`);
    await runMerge(config, join(dir, 'mean'));
    const merged = await checkpointOf(join(dir, 'mean'));
    for (const name of names) {
      expect(
        relative(await merged.readFloat32(name), await golden.readFloat32(`expected.average.${name}`)),
      ).toBeLessThan(1e-6);
    }
  });

  it('takes a compressed update in place of a model', async () => {
    const dir = await scratch();
    const opened = await checkpointOf(base);
    const finetune = await checkpointOf(expertPath('mnist'));
    const update = join(dir, 'mnist.kin');
    await encode(opened, finetune, update);
    const config = (path: string) =>
      parseMergeConfig(`{ merge_method: opcm, base_model: ${base}, models: [{ model: ${path} }] }`);
    const report = await runMerge(config(update), join(dir, 'merged'));
    expect(report.models).toEqual([{ path: update, kind: 'update' }]);
    const change = await differenceOf(opened, await checkpointOf(join(dir, 'merged')));
    const container = await openContainer(update);
    const { norm } = await container.check();
    await container.close();
    expect(report.norms).toEqual([norm]);
    expect(report.lambda).toBeCloseTo(1, 9);
    const total = Math.sqrt(Object.values(change).reduce((sum, v) => sum + v.reduce((s, x) => s + x * x, 0), 0));
    expect(total / norm).toBeCloseTo(1, 4);
  });

  it('checks all names and shapes before it reads or writes anything', async () => {
    const dir = await scratch();
    const small = [
      { name: 'a', shape: [2, 3], values: new Float32Array(6) },
      { name: 'b', shape: [2], values: new Float32Array(2) },
    ];
    await writeTensors(join(dir, 'base'), small);
    await writeTensors(join(dir, 'same'), small);
    await writeTensors(join(dir, 'turned'), [{ ...small[0]!, shape: [3, 2] }, small[1]!]);
    await writeTensors(join(dir, 'fewer'), small.slice(1));
    await writeTensors(join(dir, 'more'), [...small, { name: 'c', shape: [1], values: new Float32Array(1) }]);
    await writeFile(join(dir, 'text'), 'hello, this is no model at all');
    const listing = (await readdir(dir)).sort();
    const merge = (model: string, extra = '') =>
      runMerge(
        parseMergeConfig(
          `{ merge_method: opcm, base_model: ${dir}/base, models: [{ model: ${dir}/same }, { model: ${dir}/${model} }] ${extra} }`,
        ),
        join(dir, 'out'),
      );
    for (const [model, tensor] of [
      ['turned', 'a'],
      ['fewer', 'a'],
      ['more', 'c'],
    ] as const) {
      await expect(merge(model)).rejects.toMatchObject({ code: 'MODEL_MISMATCH', fields: { tensor } });
    }
    await expect(merge('nowhere')).rejects.toMatchObject({ code: 'MODEL_UNREADABLE' });
    await expect(merge('text')).rejects.toMatchObject({ code: expect.stringMatching(/^[A-Z_]+$/) });
    await expect(merge('same', ', linear_tensors: [b]')).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      fields: { tensor: 'b' },
    });
    await expect(merge('same', ', linear_tensors: [nope]')).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    expect((await readdir(dir)).sort()).toEqual(listing);
    await mkdir(join(dir, 'out'));
    await writeFile(join(dir, 'out', 'precious'), 'data');
    await expect(merge('same')).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
    expect(await readFile(join(dir, 'out', 'precious'), 'utf8')).toBe('data');
  });

  it('stops at NaN in a fine-tune, and at an abort, leaving nothing', async () => {
    const dir = await scratch();
    const values = Float32Array.of(1, 2, 3, 4);
    await writeTensors(join(dir, 'base'), [{ name: 'a', shape: [2, 2], values }]);
    await writeTensors(join(dir, 'nan'), [{ name: 'a', shape: [2, 2], values: values.with(1, Number.NaN) }]);
    const listing = (await readdir(dir)).sort();
    for (const method of ['opcm', 'average']) {
      const config = parseMergeConfig(
        `{ merge_method: ${method}, base_model: ${dir}/base, models: [{ model: ${dir}/nan }] }`,
      );
      await expect(runMerge(config, join(dir, 'out'))).rejects.toMatchObject({
        code: 'NON_FINITE',
        fields: { tensor: 'a' },
      });
      const control = new AbortController();
      const stopping = runMerge(parseMergeConfig(yaml(method)), join(dir, 'out'), {
        signal: control.signal,
        onProgress: () => control.abort(new Error('stop')),
      });
      await expect(stopping).rejects.toThrow('stop');
    }
    expect((await readdir(dir)).sort()).toEqual(listing);
  });
});

async function encode(
  from: Awaited<ReturnType<typeof checkpointOf>>,
  finetune: typeof from,
  out: string,
): Promise<void> {
  const table = tableOf(from);
  const settings = { density: 0.2, mode: 'global', scaleUnit: 'deviation', scaleFactor: 4 } as const;
  await encodeTaskVector({ base: from, finetune, table, ...settings, container: true }, out);
}
