import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import {
  encodeTaskVector,
  encodeTernarySync,
  expand,
  type LowRankTensor,
  openContainer,
  openPayload,
  type PayloadSource,
  type TensorTable,
  writeContainer,
} from '../../../src/codec/index.ts';
import {
  codingOf,
  decodeAll,
  failure,
  integersOf,
  lowRank,
  MemorySource,
  randomNumbers,
  readAll,
  readFixture,
  signsOf,
  tableFor,
  temporaryDirectory,
  ternary,
} from './support.ts';

const SCRIPT = fileURLToPath(new URL('../../../scripts/decode_payload.py', import.meta.url));
const DOCUMENT = new URL('../../../docs/payload-format.md', import.meta.url);
// Two matrices and two vectors, 14,112 elements: enough for every coding, and few because Python is slow.
const FEW = ['blocks.2.attn.proj.weight', 'blocks.0.norm1.weight', 'norm.bias', 'patch_embed.weight'];

const hasPython =
  spawnSync('python3', ['-c', 'import sys; sys.exit(sys.version_info < (3, 9))'], { stdio: 'ignore' }).status === 0;
if (!hasPython) test.skip('the decoder in Python: skipped, python3 (3.9 or later) is not on this machine', () => {});

interface Run {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function runScript(...options: string[]): Promise<Run> {
  return new Promise((resolve, reject) => {
    // Without the installed packages: nothing but the standard library, and it starts faster.
    const child = spawn('python3', ['-I', '-S', SCRIPT, ...options], { stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject).on('close', (status) => resolve({ status, stdout, stderr }));
  });
}

async function summaryOf(...options: string[]): Promise<{ tensors: unknown[]; nnz: number; encoder: unknown }> {
  const { status, stdout, stderr } = await runScript(...options, '--json');
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return JSON.parse(stdout);
}

/** What the script's summary should say of each tensor, by the library's own decoder. */
async function expectedTensors(source: PayloadSource, table: TensorTable) {
  return (await readAll(source, table)).map((t) => {
    if (t.form === 'low-rank') return expectedLowRank(t, table);
    const signs = signsOf(t);
    const plus = signs.filter((sign) => sign > 0).length;
    const minus = signs.filter((sign) => sign < 0).length;
    const { name, elements } = table[t.index]!;
    const sha256 = createHash('sha256').update(signs).digest('hex');
    return { index: t.index, name, elements, nnz: plus + minus, plus, minus, scale: t.scale, sha256 };
  });
}

function expectedLowRank(t: LowRankTensor, table: TensorTable) {
  const integers = integersOf(t);
  const { name, elements } = table[t.index]!;
  return {
    index: t.index,
    name,
    elements,
    nnz: t.left.nnz + t.right.nnz,
    rows: t.rows,
    columns: t.columns,
    rank: t.rank,
    sum: integers.reduce((sum, k) => sum + k, 0),
    squares: integers.reduce((sum, k) => sum + k * k, 0),
    peak: Math.max(...integers.map(Math.abs)),
    scale: t.scale,
    sha256: createHash('sha256').update(new Uint8Array(integers.buffer)).digest('hex'),
  };
}

function checkpoint(name: string, only?: readonly string[]): MemorySource {
  return new MemorySource(
    [...readFixture(`vision8/${name}.safetensors`)]
      .filter(([tensor]) => only === undefined || only.includes(tensor))
      .map(([tensor, { shape, values }]) => [tensor, { shape, values: values as Float32Array }]),
  );
}

async function writeTable(directory: string, table: TensorTable): Promise<string> {
  const path = join(directory, `table-${table.length}.json`);
  await writeFile(path, JSON.stringify(table.map(({ name, shape }) => [name, shape])));
  return path;
}

function documentExamples(): Buffer[] {
  const blocks = readFileSync(DOCUMENT, 'utf8').split('```hex\n').slice(1);
  return blocks.map((block) => {
    const lines = block.slice(0, block.indexOf('```')).trim().split('\n');
    return Buffer.from(lines.map((line) => line.split(' ')[0]).join(''), 'hex');
  });
}

describe.skipIf(!hasPython)('the decoder in Python', () => {
  test('reads two experts in both modes and several densities, as containers and bare', async () => {
    const directory = await temporaryDirectory();
    const base = checkpoint('base', FEW);
    const table = base.table();
    const tablePath = await writeTable(directory, table);
    const codings = new Set<string>();
    const payload = join(directory, 'payload');
    const container = join(directory, 'container');
    for (const task of ['mnist', 'omniglot']) {
      const finetune = checkpoint(`expert-${task}`, FEW);
      for (const mode of ['global', 'tensor'] as const) {
        for (const density of [0.02, 0.8]) {
          const encoder = { mode, density, scaleUnit: 'deviation', scaleFactor: 4 } as const;
          await encodeTaskVector({ base, finetune, table, ...encoder }, payload);
          await writeContainer(container, { table, encoder, payload });
          const reader = await openPayload(payload, table);
          for (const section of reader.sections) codings.add(codingOf(section));
          await reader.close();

          const tensors = await expectedTensors(payload, table);
          const nnz = tensors.reduce((sum, t) => sum + t.nnz, 0);
          expect(await summaryOf(container)).toMatchObject({ encoder, nnz, tensors });
          if (mode === 'tensor' && density > 0.1) {
            expect(await summaryOf(payload, '--table', tablePath)).toMatchObject({ encoder: null, nnz, tensors });
          }
        }
      }
    }
    expect([...codings].sort()).toEqual(['flat', 'golomb', 'rows']);
  }, 30_000);

  test('reads a whole expert and writes its task vector', async () => {
    const directory = await temporaryDirectory();
    const base = checkpoint('base');
    const table = base.table();
    const encoder = { mode: 'global', density: 0.2, scaleUnit: 'deviation', scaleFactor: 4 } as const;
    const payload = join(directory, 'payload');
    const container = join(directory, 'container');
    const out = join(directory, 'task-vector.safetensors');
    await encodeTaskVector({ base, finetune: checkpoint('expert-gtsrb'), table, ...encoder }, payload);
    await writeContainer(container, { table, encoder, payload });
    const summary = await summaryOf(container, '--out', out);
    expect(summary.tensors).toEqual(await expectedTensors(payload, table));

    const written = await readFile(out);
    const headerEnd = 8 + Number(written.readBigUInt64LE(0));
    const header = JSON.parse(written.toString('utf8', 8, headerEnd));
    const decoded = new Map((await decodeAll(payload, table)).map((t) => [t.index, t]));
    expect(Object.keys(header)).toEqual(table.map(({ name }) => name));
    for (const [index, { name, shape, elements }] of table.entries()) {
      expect(header[name]).toMatchObject({ dtype: 'F32', shape });
      const [from, to] = header[name].data_offsets;
      const values = new Float32Array(elements);
      const tensor = decoded.get(index);
      if (tensor !== undefined) expand(tensor, values);
      expect(written.subarray(headerEnd + from, headerEnd + to).equals(Buffer.from(values.buffer)), name).toBe(true);
    }
    expect(decoded.size).toBeLessThan(table.length); // some tensors were written as zeros
  }, 30_000);

  test('reads low-rank tensors beside ternary ones, and writes their products', async () => {
    const directory = await temporaryDirectory();
    const random = randomNumbers(5);
    const table = tableFor(3000, 50, 5000);
    const tensors = [
      lowRank(0, { rows: 50, columns: 60, rank: 7, density: 0.4, scale: 0.375, random }),
      ternary(
        1,
        Int8Array.from({ length: 50 }, (_, i) => (i % 3) - 1),
      ),
      lowRank(2, { rows: 20, columns: 250, rank: 16, density: 0.05, scale: 2, random }),
    ];
    const encoder = { mode: 'tensor', density: 0.2, scaleUnit: 'magnitude', scaleFactor: 2.5 } as const;
    const [container, out] = [join(directory, 'container'), join(directory, 'out')];
    const payload = encodeTernarySync(table, tensors);
    await writeContainer(container, { table, encoder, payload });
    const summary = await summaryOf(container, '--out', out);
    expect(summary).toMatchObject({ encoder, tensors: await expectedTensors(payload, table) });
    const written = await readFile(out);
    const headerEnd = 8 + Number(written.readBigUInt64LE(0));
    const values = new Float32Array(8050);
    for (const t of tensors) expand(t, values.subarray([0, 3000, 3050][t.index]!));
    expect(written.subarray(headerEnd).equals(Buffer.from(values.buffer))).toBe(true);
  });

  test("reads the document's examples", async () => {
    const directory = await temporaryDirectory();
    const examples = documentExamples();
    const tables = [tableFor(40, 8, 300), tableFor(64), tableFor(16)];
    expect(examples.length).toBe(tables.length);
    for (const [i, table] of tables.entries()) {
      const file = join(directory, 'payload');
      await writeFile(file, examples[i]!);
      const summary = await summaryOf(file, '--table', await writeTable(directory, table));
      expect(summary.tensors).toEqual(await expectedTensors(new Uint8Array(examples[i]!), table));
    }
  });

  test('refuses malformed files in one line, by the code that the library gives', async () => {
    const directory = await temporaryDirectory();
    const [golomb, adaptive, lowRanks] = documentExamples() as [Buffer, Buffer, Buffer];
    const sixteen = tableFor(16);
    const changed = (bytes: Buffer, at: number, ...values: number[]) => {
      const copy = Buffer.from(bytes);
      copy.set(values, at);
      return copy;
    };
    const small = tableFor(40, 8, 300);
    const one = tableFor(64);
    const payloads: [string, Buffer, TensorTable][] = [
      ['BAD_FACTORS', changed(lowRanks, 17, 3), sixteen],
      ['BAD_FACTORS', changed(lowRanks, 18, 3), sixteen],
      ['BAD_COUNT', changed(lowRanks, 15, 9), sixteen],
      ['BAD_SCALE', changed(lowRanks, 10, 1), sixteen],
      ['UNSUPPORTED_CODING', changed(lowRanks, 19, 2), sixteen],
      ['BAD_PADDING', changed(lowRanks, 27, 0x41), sixteen],
      ['TRUNCATED', golomb.subarray(0, -1), small],
      ['BAD_TENSOR_COUNT', golomb, one],
      ['BAD_SCALE', changed(golomb, 10, 0, 0, 0xc0, 0x7f), small],
      ['BAD_COUNT', changed(golomb, 15, 41), small],
      ['BAD_PADDING', changed(golomb, 19, 0x17), small],
      ['BAD_CODER_STATE', changed(adaptive, 20, 0, 0), one],
      ['BAD_COUNT', changed(adaptive, 15, 33), one],
    ];
    const file = join(directory, 'file');
    for (const [code, bytes, table] of payloads) {
      expect((await failure(readAll(new Uint8Array(bytes), table))).code).toBe(code);
      await writeFile(file, bytes);
      expectRefusal(await runScript(file, '--table', await writeTable(directory, table)), code);
    }

    const encoder = { mode: 'global', density: 0.5, scaleUnit: 'magnitude', scaleFactor: 1 } as const;
    await writeContainer(file, { table: small, encoder, payload: new Uint8Array(golomb) });
    const container = await readFile(file);
    const version = container.indexOf('version') + 'version'.length;
    const out = join(directory, 'out');
    const containers: [string, Buffer][] = [
      ['BAD_CONTAINER_MAGIC', changed(container, 3, 0x44)],
      ['BAD_CONTAINER_HEADER', changed(container, 4, 0xff, 0xff)],
      ['BAD_CONTAINER_HEADER', changed(container, 8, 0xa4)],
      ['UNSUPPORTED_CONTAINER_VERSION', changed(container, version, 2)],
      ['TRAILING_BYTES', Buffer.concat([container, Buffer.of(0)])],
    ];
    for (const [code, bytes] of containers) {
      expect((await failure(openContainer(new Uint8Array(bytes)))).code).toBe(code);
      await writeFile(file, bytes);
      expectRefusal(await runScript(file, '--out', out), code);
    }
    await expect(readFile(out)).rejects.toMatchObject({ code: 'ENOENT' });
  }, 30_000);
});

function expectRefusal({ status, stdout, stderr }: Run, code: string): void {
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  expect(stderr).toMatch(new RegExp(`^${code}: .+\n$`));
}
