import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { PATIENT_MS, scratch } from './support/files.ts';

const MAIN = fileURLToPath(new URL('../../scripts/bench/main.ts', import.meta.url));

const CODEC_BARS = [
  ...[1, 5, 10, 20, 50].map((percent) => `codec.size.uniform.${percent}`),
  'codec.size.vision8.global',
  'codec.size.vision8.tensor',
  'codec.vision8.expert.10',
  'codec.vision8.expert.20',
  'codec.torch.rate',
  'codec.torch.memory',
  'codec.encode.time',
  'codec.encode.rss',
  'codec.decode.time',
  'codec.lora.size',
];
const SPEEDUPS = ['merge.ref.speedup', 'merge.lite.speedup', 'merge.portable.speedup'];
const EIGEN = ['eigen.768', 'eigen.2048'];
const MERGE_BARS = [
  ...SPEEDUPS,
  'merge.memory.vitb32',
  'merge.memory.layers',
  'merge.growth',
  ...EIGEN,
  'merge.webgpu.difference',
];
const NETWORK_BARS = ['sync.equal', 'sync.diff', 'start.10000', 'start.10000.memory', 'catchup.1000'];
/** What these compare with, or run on, may be absent on a machine: torch, numpy on OpenBLAS, an adapter. */
const MAY_LACK: readonly string[] = [
  'codec.torch.rate',
  'codec.torch.memory',
  ...SPEEDUPS,
  ...EIGEN,
  'merge.webgpu.difference',
];

interface Bar {
  readonly id: string;
  readonly value: number | null;
  readonly unit: string;
  readonly target: number;
  readonly holds: boolean;
  readonly numerator: number | null;
  readonly denominator: number | null;
  readonly reason?: string;
}

function bench(args: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}

interface Document {
  readonly bars: readonly Bar[];
  readonly tables: readonly { readonly title: string; readonly rows: readonly object[] }[];
  readonly machine: object;
  readonly details: { readonly steps?: readonly Step[] };
  readonly notes: readonly string[];
}

interface Step {
  readonly shape: string;
  readonly variant: string;
  readonly phases: readonly object[];
}

/** Runs a benchmark with tiny inputs, and checks what every document must have. */
async function quickDocument(name: string, bars: readonly string[]): Promise<Document> {
  const dir = await scratch();
  const { code, stdout, stderr } = await bench([name, '--quick', '--json', '--dir', dir]);
  expect(code, stderr).toBe(0);
  const document = JSON.parse(stdout) as Document;
  expect(document).toMatchObject({ benchmark: name, quick: true, rounds: 1 });
  expect(document.machine).toMatchObject({ node: process.versions.node, cores: expect.any(Number) });
  expect(document.bars.map(({ id }) => id)).toEqual(bars);
  for (const { id, value, numerator, denominator, holds, reason, target, unit } of document.bars) {
    expect([typeof target, typeof unit, typeof holds], id).toEqual(['number', 'string', 'boolean']);
    if (value === null) {
      expect(MAY_LACK, reason).toContain(id);
      expect({ numerator, denominator, holds }, id).toEqual({ numerator: null, denominator: null, holds: false });
      expect(reason, id).toBeTruthy();
    } else expect(value, id).toBe(numerator! / denominator!);
  }
  for (const { title, rows } of document.tables) expect(rows, title).not.toEqual([]);
  expect(await readdir(dir)).toEqual([]);
  return document;
}

describe('the benchmark of the codec', { timeout: PATIENT_MS }, () => {
  test('prints one document with every bar, its figures and what they were measured on', async () => {
    await quickDocument('codec', CODEC_BARS);
  });

  test('measures only what was asked for, and shows people a table', async () => {
    const { code, stdout, stderr } = await bench(['codec', '--quick', '--only', 'codec.size.uniform']);
    expect(code, stderr).toBe(0);
    expect(stdout).toContain('codec.size.uniform.50');
    expect(stdout).not.toContain('codec.size.vision8');
  });

  test('says what there is when it is asked for something else', async () => {
    const unknown = await bench(['code']);
    expect(unknown).toMatchObject({ code: 2, stdout: '' });
    expect(unknown.stderr).toContain('codec: sizes');
    const bar = await bench(['codec', '--only', 'codec.speed']);
    expect(bar).toMatchObject({ code: 2, stdout: '' });
    expect(bar.stderr).toContain('codec.encode.time');
    const rounds = await bench(['codec', '--rounds', '4']);
    expect(rounds).toMatchObject({ code: 2, stdout: '' });
    expect(rounds.stderr).toContain('--rounds wants a whole number from 5');
  });
});

describe('the benchmark of the merge', { timeout: PATIENT_MS }, () => {
  test('prints every bar, and every step with its phases', async () => {
    const { details, notes } = await quickDocument('merge', MERGE_BARS);
    expect(notes.filter((note) => note.startsWith('stopped'))).toEqual([]);
    const vision8 = details.steps!.filter(({ shape }) => shape === 'vision8');
    expect(vision8.map(({ variant }) => variant)).toEqual(expect.arrayContaining(['ref', 'lite']));
    for (const { phases, shape } of details.steps!) {
      const phase = {
        name: expect.any(String),
        device: expect.any(String),
        seconds: expect.any(Number),
        gflop: expect.any(Number),
      };
      expect(phases, shape).toContainEqual(phase);
    }
  });

  test('takes a step of a whole Llama, and says beforehand what disk it needs', async () => {
    const dir = await scratch();
    const { code, stdout, stderr } = await bench(['merge-llama', '--quick', '--json', '--dir', dir]);
    expect(code, stderr).toBe(0);
    expect(stderr.split('\n')[0]).toMatch(/needs [\d.]+ GiB of disk in .*, which has [\d.]+ GiB free/);
    const { bars } = JSON.parse(stdout) as Document;
    expect(bars).toMatchObject([{ id: 'merge.llama.memory', holds: true }]);
  });
});

describe('the benchmark of the network', { timeout: PATIENT_MS }, () => {
  test('prints every bar, and what syncs, starts, catching up and deciding cost', async () => {
    const { tables, notes } = await quickDocument('network', NETWORK_BARS);
    expect(notes.filter((note) => note.startsWith('stopped'))).toEqual([]);
    expect(tables.map(({ title }) => title)).toEqual([
      expect.stringContaining('one sync'),
      expect.stringContaining('start of a daemon'),
      expect.stringContaining('catch-up'),
      expect.stringContaining('contributions'),
    ]);
  });
});
