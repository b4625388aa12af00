import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { defaultSettings } from '../../../src/choose/index.ts';
import { openCheckpoint } from '../../../src/tensors/index.ts';
import { bytes, float, scratch, writeLinearGraph, writeTensors } from '../evaluate/support.ts';
import { runInProcess } from './support.ts';

/** Weights of a classifier of two classes, and what is 8 apart from the base in one entry. */
const BASE = [1, 2, 3, 4, 5, 6, 7, 8];
const TUNED = [9, 2.5, 3, 4, 5, 6, 7, 7.75];

let dir: string;
let base: string;
let tuned: string;
let out: string;

beforeEach(async () => {
  dir = await scratch();
  out = join(dir, 'update');
  base = await writeTensors(join(dir, 'base.safetensors'), { weight: float([2, 4], ...BASE) });
  tuned = await writeTensors(join(dir, 'tuned.safetensors'), { weight: float([2, 4], ...TUNED) });
});

/** Samples of one class, which the first weight alone decides. */
async function evaluationSet() {
  const graph = await writeLinearGraph(join(dir, 'linear.onnx'));
  const test = await writeTensors(join(dir, 'test-first.safetensors'), {
    images: bytes([20, 4], ...Array.from({ length: 20 }, () => [255, 0, 0, 0]).flat()),
    labels: bytes([20], ...Array.from({ length: 20 }, () => 0)),
  });
  return { graph, test };
}

async function encode(finetune: string, ...more: string[]) {
  const { code, stdout } = await runInProcess(['encode', finetune, '--base', base, '--out', out, ...more, '--json']);
  return { code, document: JSON.parse(stdout) };
}

async function decoded(): Promise<number[]> {
  const vector = join(dir, 'vector.safetensors');
  expect((await runInProcess(['decode', out, '--out', vector])).code).toBe(0);
  const checkpoint = await openCheckpoint(vector);
  const values = await checkpoint.readFloat32('weight');
  await checkpoint.close();
  return [...values];
}

describe('help', () => {
  test('names the default of each setting, and of contribute that of the charter', async () => {
    const words = async (verb: string) => (await runInProcess([verb, '--help'])).stdout.replace(/\s+/g, ' ');
    const encodeHelp = await words('encode');
    expect(encodeHelp).toMatch(/--density <share>[^-]*\(default: 0\.2\)/);
    expect(encodeHelp).toMatch(/--mode <mode>[^-]*\(default: tensor\)/);
    expect(encodeHelp).toMatch(/--scale-unit <unit>[^-]*\(default: magnitude\)/);
    expect(encodeHelp).toContain('(default: 1 / sqrt(density) for magnitude, 4 for deviation)');
    const contributeHelp = await words('contribute');
    for (const option of ['--density <share>', '--mode <mode>', '--scale-unit <unit>', '--scale-factor <factor>']) {
      expect(contributeHelp).toMatch(new RegExp(`${option}[^-]*\\(default: the charter's`));
    }
    // Those of every verb are no part of the evaluation's.
    expect(contributeHelp).toMatch(/Options: .*--json .*What is kept:/);
  });
});

describe('density auto', () => {
  test('chooses by reconstruction without an evaluation set, and says by what rule', async () => {
    const { code, document } = await encode(tuned, '--density', 'auto');
    expect(code).toBe(0);
    expect(document.choice).toMatchObject({ by: 'reconstruction', rule: expect.stringMatching(/.{20}/) });
    expect(document.choice.settings).toEqual(document.settings);
    const inspected = JSON.parse((await runInProcess(['inspect', out, '--json'])).stdout);
    expect(inspected.encoder).toEqual(document.settings);
    const text = await runInProcess(['encode', tuned, '--base', base, '--out', out, '--force', '--density', 'auto']);
    expect(text.stdout).toMatch(/^density +factor +energy kept/m);
    expect(text.stdout).toContain(document.choice.rule);
  });

  test('chooses by accuracy with one, given file by file or as a directory', async () => {
    const { graph, test } = await evaluationSet();
    const { code, document } = await encode(tuned, '--density', 'auto', '--graph', graph, '--test', `first=${test}`);
    expect(code).toBe(0);
    expect(document.choice.by).toBe('evaluation');
    expect(document.choice.table[0]).toMatchObject({ tasks: { first: { n: 20 } } });
    const again = await encode(tuned, '--density', 'auto', '--graph', graph, '--tests', dir, '--force');
    expect(again.document.choice).toEqual(document.choice);
  });
});

describe('contradictions exit 2, name what to do and write nothing', () => {
  test.each([
    ['auto beside a mode', ['--density', 'auto', '--mode', 'global'], 'BAD_CHOICE', 'leave them out'],
    ['auto beside a unit', ['--density', 'auto', '--scale-unit', 'deviation'], 'BAD_CHOICE', 'leave them out'],
    ['auto beside a factor', ['--density', 'auto', '--scale-factor', '2'], 'BAD_CHOICE', 'leave them out'],
    ['a test set without its graph', ['--density', 'auto', '--tests', '.'], 'USAGE', '--graph'],
    ['a single test without its graph', ['--density', 'auto', '--test', 'a=b'], 'USAGE', '--graph'],
    ['heads without their graph', ['--density', 'auto', '--heads', 'h'], 'USAGE', '--graph'],
    ['a graph that nothing asks for', ['--graph', 'g', '--test', 'a=b'], 'BAD_CHOICE', 'density auto'],
    ['a test that is not task=file', ['--density', 'auto', '--graph', 'g', '--test', 'b'], 'USAGE', 'task=file'],
    ['tests that are not there', ['--density', 'auto', '--graph', 'g', '--tests', '/no'], 'USAGE', '/no'],
    ['a batch of nothing', ['--density', 'auto', '--graph', 'g', '--test', 'a=b', '--batch', '0'], 'USAGE', '--batch'],
    ['a graph without a test', ['--density', 'auto', '--graph', 'g'], 'NO_TESTS', 'at least one'],
    ['a density of 0', ['--density', '0'], 'USAGE', 'above 0'],
    ['a density above 1', ['--density', '1.01'], 'USAGE', 'at most 1'],
    ['a density of another name', ['--density', 'automatic'], 'USAGE', 'not a number'],
    ['a scale of nothing', ['--scale-factor', '0'], 'BAD_PARAMETER', 'not a positive number'],
  ])('%s', async (_what, options, code, advice) => {
    const { code: exit, document } = await encode(tuned, ...options);
    expect({ exit, code: document.error.code }).toEqual({ exit: 2, code });
    expect(document.error.message).toContain(advice);
    expect((await runInProcess(['inspect', out])).stderr).toContain('[NOT_FOUND]');
  });
});

describe('what a community recommends to its contributors', () => {
  const create = async (...options: string[]) => {
    const words = ['community', 'create', '--base', base, '--name', 'x', '--home', join(dir, 'home')];
    const { code, stdout } = await runInProcess([...words, '--out', join(dir, 'charter'), ...options, '--json']);
    return { code, document: JSON.parse(stdout) };
  };

  test('is the default, or what its creator says', async () => {
    const usual = await create();
    expect(usual).toMatchObject({ code: 0, document: { encoder: defaultSettings() } });
    await rm(join(dir, 'charter'));
    const own = { density: 0.1, mode: 'global', scaleUnit: 'deviation', scaleFactor: 5 } as const;
    const options = ['--density', '0.1', '--mode', 'global', '--scale-unit', 'deviation', '--scale-factor', '5'];
    expect(await create(...options)).toMatchObject({ code: 0, document: { encoder: own } });
  });

  test('is no more than it admits', async () => {
    const strict = await create('--max-density', '0.1');
    expect(strict).toMatchObject({ code: 0, document: { encoder: defaultSettings(0.1) } });
  });

  test.each([
    ['a density of 0', ['--density', '0'], 'above 0'],
    ['a density above what is admitted by default', ['--density', '0.51'], '--max-density'],
    ['a density above what is admitted', ['--density', '0.2', '--max-density', '0.1'], '--max-density'],
    ['a factor of 0', ['--scale-factor', '0'], '--scale-factor'],
    ['a factor beyond all use', ['--scale-factor', '1001'], '1000'],
  ])('is not %s', async (_what, options, advice) => {
    const { code, document } = await create(...options);
    expect({ code, error: document.error.code }).toEqual({ code: 2, error: 'USAGE' });
    expect(document.error.message).toContain(advice);
    expect(await readdir(dir)).not.toContain('home');
  });
});

describe('differences between base and fine-tune', () => {
  const cases = [
    { problem: 'missing', flag: ['--missing', 'unchanged'], tensor: 'weight', said: 'so unchanged' },
    { problem: 'extra', flag: ['--extra', 'ignore'], tensor: 'head', said: 'left out' },
    { problem: 'reshaped', flag: ['--reshaped', 'unchanged'], tensor: 'weight', said: 'so unchanged' },
  ];
  const finetunes: Readonly<Record<string, Parameters<typeof writeTensors>[1]>> = {
    missing: { steps: bytes([1], 1) },
    extra: { weight: float([2, 4], ...TUNED), head: float([2], 1, 2) },
    reshaped: { weight: float([4, 2], ...TUNED) },
  };

  test.each(cases)('$problem: refused with the flag that lets it pass', async ({ problem, flag, tensor, said }) => {
    const finetune = await writeTensors(join(dir, 'other.safetensors'), finetunes[problem]!);
    const refused = await encode(finetune);
    expect(refused).toMatchObject({ code: 1, document: { error: { code: 'TENSOR_MISMATCH' } } });
    expect(refused.document.error.message).toContain(flag.join(' '));
    const passed = await encode(finetune, ...flag);
    expect(passed).toMatchObject({ code: 0, document: { notes: [{ problem, tensor }] } });
    if (problem === 'extra') expect((await decoded())[0]).toBeGreaterThan(0);
    else expect(await decoded()).toEqual(BASE.map(() => 0));
    const text = await runInProcess(['encode', finetune, '--base', base, '--out', out, '--force', ...flag]);
    expect(text.stdout).toContain(`${tensor}: ${problem}, ${said}`);
  });
});
