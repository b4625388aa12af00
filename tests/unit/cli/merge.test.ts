import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { eigensolverRows, phasesLine } from '../../../node/cli/verbs/render-engine.ts';
import { describeEigensolver } from '../../../src/compute/index.ts';
import { gaussian32 } from '../compute/random.ts';
import { scratch, writeTensors } from '../merge/helpers.ts';
import { runInProcess } from './support.ts';

/** Words of a merge of two small models. */
async function mergeWords(): Promise<string[]> {
  const dir = await scratch();
  for (const seed of [1, 2, 3]) {
    const tensor = { name: 'a.weight', shape: [40, 60], values: gaussian32(2400, seed) };
    await writeTensors(join(dir, String(seed)), [tensor]);
  }
  const config = join(dir, 'merge.yml');
  const models = [2, 3].map((seed) => `{ model: ${join(dir, String(seed))} }`);
  await writeFile(config, `{ merge_method: opcm, base_model: ${join(dir, '1')}, models: [${models}] }`);
  return ['merge', config, '--out', join(dir, 'out')];
}

describe('merge', () => {
  test('says in JSON what did the work and where the time went', async () => {
    const words = await mergeWords();
    const how = ['--workers', '1', '--memory', '1MiB', '--eigensolver', 'portable'];
    const { code, stdout, stderr } = await runInProcess([...words, ...how, '--json']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const document = JSON.parse(stdout);
    expect(document).toMatchObject({ device: 'cpu', eigensolver: { name: 'portable' } });
    expect(document.description).toMatch(/^cpu: .*1 worker/);
    const names = document.phases.map(({ name }: { name: string }) => name);
    expect(names.sort()).toEqual(['eigen', 'gram', 'products', 'read', 'sums', 'write']);
    for (const { device, seconds, gflop } of document.phases) {
      expect(device).toBe('cpu');
      expect(seconds).toBeGreaterThanOrEqual(0);
      expect(gflop).toBeGreaterThanOrEqual(0);
    }
  });

  test('says so in text, with the hint once where the fast eigensolver is missing', async () => {
    const { description, hint } = describeEigensolver();
    const { code, stdout, stderr } = await runInProcess(await mergeWords());
    expect(code).toBe(0);
    expect(stdout).toMatch(/^device +cpu: /m);
    expect(stdout).toContain(description);
    expect(stdout).toMatch(/^time +.*products \d+\.\d\d s at \d+\.\d GFLOP\/s/m);
    expect(stderr).toBe(hint === null ? '' : `${hint}\n`);
  });
});

test('phases are told on one line, with the rate of products and the device where it is not the CPU', () => {
  const line = phasesLine([
    { name: 'eigen', device: 'cpu', seconds: 0.5, gflop: 0 },
    { name: 'gram', device: 'cpu', seconds: 2, gflop: 9 },
    { name: 'products', device: 'webgpu', seconds: 0.25, gflop: 100 },
    { name: 'products', device: 'cpu', seconds: 0, gflop: 0.1 },
  ]);
  expect(line).toBe(
    'eigen 0.50 s, gram 2.00 s at 4.5 GFLOP/s, products on webgpu 0.25 s at 400.0 GFLOP/s, products 0.00 s',
  );
});

test('the hint stands below the eigensolver, where there is one', () => {
  expect(eigensolverRows({ name: 'lapack', description: 'LAPACK of x', hint: null })).toEqual([
    ['eigensolver', 'LAPACK of x'],
  ]);
  expect(eigensolverRows({ name: 'portable', description: 'portable', hint: 'install it' })).toEqual([
    ['eigensolver', 'portable'],
    ['', 'install it'],
  ]);
});
