import { readdir, readFile, readlink, realpath, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { createSafetensors } from '../../src/tensors/index.ts';
import { runCli, startCli } from './support/cli.ts';
import { BASE, copyWith, expert, namesIn, opened, PATIENT_MS, scratch, TASKS, VISION8 } from './support/files.ts';

/** Copies of the test set's images: enough work for half a minute. */
const COPIES = 100;
/** From the signal to the end of the process; one batch takes a tenth of it. */
const PROMPT_MS = 3_000;

describe('bad input exits with its code and leaves nothing', { timeout: PATIENT_MS }, () => {
  interface Case {
    readonly what: string;
    readonly exit: number;
    readonly code: string;
    /** Writes the bad input to `bad` and returns the command; its output goes to `out`. */
    args(bad: string, out: string): Promise<string[]>;
  }

  const encode = (finetune: string, out: string, base = BASE) => ['encode', finetune, '--base', base, '--out', out];
  const merge = (method: string) => async (bad: string, out: string) => {
    await writeFile(bad, method);
    return ['merge', bad, '--out', out];
  };
  const nan = (bad: string) =>
    copyWith(expert('mnist'), bad, 'blocks.2.mlp.fc1.weight', {
      values: (values) => {
        values[1234] = Number.NaN;
      },
    });
  const reshaped = (bad: string) => copyWith(expert('mnist'), bad, 'pos_embed', { shape: [96, 16] });

  const cases: Case[] = [
    { what: 'encode: NaN', exit: 1, code: 'NOT_FINITE', args: async (bad, out) => encode(await nan(bad), out) },
    {
      what: 'encode: another shape',
      exit: 1,
      code: 'TENSOR_MISMATCH',
      args: async (bad, out) => encode(await reshaped(bad), out),
    },
    {
      what: 'encode: a truncated file',
      exit: 1,
      code: 'FILE_TRUNCATED',
      args: async (bad, out) => {
        await writeFile(bad, (await readFile(expert('mnist'))).subarray(0, -1000));
        return encode(bad, out);
      },
    },
    {
      what: 'encode: no safetensors at all',
      exit: 1,
      code: 'NOT_SAFETENSORS',
      args: async (bad, out) => {
        await writeFile(bad, '<!doctype html><title>Not found</title>');
        return encode(bad, out);
      },
    },
    { what: 'encode: nothing there', exit: 1, code: 'NOT_FOUND', args: async (bad, out) => encode(bad, out) },
    {
      what: 'encode: a density above 1',
      exit: 2,
      code: 'USAGE',
      args: async (_bad, out) => [...encode(expert('mnist'), out), '--density', '1.5'],
    },
    {
      what: 'encode: a density that is no number',
      exit: 2,
      code: 'USAGE',
      args: async (_bad, out) => [...encode(expert('mnist'), out), '--density', 'much'],
    },
    {
      what: 'decode: an update cut short',
      exit: 1,
      code: 'TRUNCATED',
      args: async (bad, out) => {
        expect((await runCli(encode(expert('signs'), bad))).code).toBe(0);
        await writeFile(bad, (await readFile(bad)).subarray(0, -100));
        return ['decode', bad, '--out', out];
      },
    },
    {
      what: 'decode: not an update',
      exit: 1,
      code: 'BAD_CONTAINER_MAGIC',
      args: async (_bad, out) => ['decode', BASE, '--out', out],
    },
    {
      what: 'decode: the base of another model',
      exit: 3,
      code: 'BASE_MISMATCH',
      args: async (bad, out) => {
        expect((await runCli(encode(expert('signs'), bad))).code).toBe(0);
        return ['decode', bad, '--base', join(VISION8, 'heads.safetensors'), '--apply', '--out', out];
      },
    },
    {
      what: 'merge: an unknown key',
      exit: 2,
      code: 'CONFIG_INVALID',
      args: merge(`merge_method: opcm\nbase_model: ${BASE}\nmodels: [{ model: ${expert('mnist')} }]\nscael: 2\n`),
    },
    { what: 'merge: not YAML', exit: 2, code: 'CONFIG_UNREADABLE', args: merge('merge_method: [opcm\n') },
    {
      what: 'merge: NaN in the second model',
      exit: 1,
      code: 'NON_FINITE',
      args: async (bad, out) => {
        const model = await nan(`${bad}.safetensors`);
        const models = `models: [{ model: ${expert('signs')} }, { model: ${model} }]`;
        return merge(`merge_method: opcm\nbase_model: ${BASE}\n${models}\n`)(bad, out);
      },
    },
    {
      what: 'merge: a model of another shape',
      exit: 1,
      code: 'MODEL_MISMATCH',
      args: async (bad, out) => {
        const model = await reshaped(`${bad}.safetensors`);
        return merge(`merge_method: average\nbase_model: ${BASE}\nmodels: [{ model: ${model} }]\n`)(bad, out);
      },
    },
    {
      what: 'merge: a device that this version lacks',
      exit: 2,
      code: 'DEVICE_UNAVAILABLE',
      args: async (bad, out) => {
        const models = `models: [{ model: ${expert('signs')} }, { model: ${expert('mnist')} }]`;
        const args = await merge(`merge_method: opcm\nbase_model: ${BASE}\n${models}\n`)(bad, out);
        return [...args, '--device', process.platform === 'darwin' ? 'dml' : 'coreml'];
      },
    },
    {
      what: 'an --out whose directory is not there',
      exit: 1,
      code: 'PARENT_MISSING',
      args: async (_bad, out) => encode(expert('mnist'), join(`${out}-missing`, 'u')),
    },
  ];

  test.each(cases)('$what: exit $exit, $code', async ({ exit, code, args }) => {
    const dir = await scratch();
    const out = join(dir, 'out');
    const command = await args(join(dir, 'bad'), out);
    const before = await namesIn(dir);
    const result = await runCli([...command, '--json']);
    expect(result.json).toMatchObject({ error: { code } });
    expect(result.code).toBe(exit);
    expect(await namesIn(dir)).toEqual(before);
    expect(before).not.toContain('out');
  });

  test('without --json the message goes to stderr, with its code', async () => {
    const result = await runCli(['inspect', '/nothing/here']);
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(result.stderr).toBe('kinmerge: /nothing/here: nothing there. Check the path.\n  [NOT_FOUND]\n');
  });
});

/** Waits until the process has a file open. Linux tells; elsewhere a while must do. */
async function waitForOpen(pid: number, file: string): Promise<void> {
  if (process.platform !== 'linux') return sleep(10_000);
  for (let tries = 0; tries < 1_200; tries++) {
    const directory = `/proc/${pid}/fd`;
    const names = await readdir(directory).catch(() => []);
    for (const name of names) if ((await readlink(join(directory, name)).catch(() => '')) === file) return;
    await sleep(50);
  }
  expect.fail(`${file} was not opened`);
}

test('SIGINT in the middle of a merge leaves nothing behind', { timeout: PATIENT_MS }, async () => {
  const dir = await scratch();
  const models = TASKS.map((task) => `  - model: ${expert(task)}`).join('\n');
  await writeFile(join(dir, 'opcm.yml'), `merge_method: opcm\nbase_model: ${BASE}\nmodels:\n${models}\n`);
  const running = startCli(['merge', 'opcm.yml', '--out', 'merged', '--json'], { cwd: dir });
  // Until the fold has written something: the merge is under way.
  for (let tries = 0; tries < 1_200; tries++) {
    const work = (await namesIn(dir)).find((name) => name.startsWith('.'));
    if (work !== undefined && (await readdir(join(dir, work)).catch(() => [])).length > 0) break;
    await sleep(20);
  }
  running.process.kill('SIGINT');
  const result = await running.done;
  expect(result).toMatchObject({ code: 130, json: { error: { code: 'INTERRUPTED' } } });
  expect(await namesIn(dir)).toEqual(['opcm.yml']);
});

test('SIGINT ends a long evaluation promptly, with exit code 130', { timeout: PATIENT_MS }, async () => {
  const dir = await scratch();
  const source = await opened(join(VISION8, 'test-mnist.safetensors'));
  const large = join(dir, 'large.safetensors');
  const writer = await createSafetensors(large, [
    { name: 'images', dtype: 'U8', shape: [1000 * COPIES, 28, 28] },
    { name: 'labels', dtype: 'U8', shape: [1000 * COPIES] },
  ]);
  for (const name of ['images', 'labels']) {
    await writer.writeChunks(name, new Array<Uint8Array>(COPIES).fill(await source.readRaw(name)));
  }
  await writer.commit();
  const models = ['--graph', join(VISION8, 'model.onnx'), '--heads', join(VISION8, 'heads.safetensors')];
  const running = startCli(['evaluate', BASE, '--test', `mnist=${large}`, ...models, '--json']);
  await waitForOpen(running.process.pid!, await realpath(large));
  // Past the loading of graph and weights, into the evaluation itself.
  await sleep(2_000);
  expect(running.process.exitCode).toBe(null);
  const sent = performance.now();
  running.process.kill('SIGINT');
  // As a terminal and a parent process together send it.
  running.process.kill('SIGINT');
  const result = await running.done;
  expect(performance.now() - sent).toBeLessThan(PROMPT_MS);
  expect(result).toMatchObject({ code: 130, signal: null, json: { error: { code: 'INTERRUPTED' } } });
});
