/** docs/documents.md names every field that the verbs print, and none that they do not. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { tempDir } from '../tensors/files.ts';
import { linear, makeAdapter, makeBase, writeTensors } from '../tensors/lora/support.ts';
import { runInProcess } from './support.ts';

let text: string;
let base: string;
let tuned: string;
let update: string;
let dir: string;

beforeAll(async () => {
  text = await readFile(new URL('../../../docs/documents.md', import.meta.url), 'utf8');
});

/** Field names of the first table behind a line. */
function documented(line: string): string[] {
  const from = text.indexOf(`\n${line}\n`);
  expect(from, line).toBeGreaterThanOrEqual(0);
  const rows = text.slice(from + line.length + 2).split('\n');
  const first = rows.findIndex((row) => row.startsWith('| field'));
  const last = rows.findIndex((row, i) => i > first && !row.startsWith('|'));
  return rows
    .slice(first + 2, last < 0 ? undefined : last)
    .flatMap((row) => [...row.split('|')[1]!.matchAll(/`(\w+)`/g)].map(([, name]) => name!));
}

async function printed(...argv: string[]): Promise<Record<string, unknown>> {
  const { code, stdout } = await runInProcess([...argv, '--json']);
  expect(code, stdout).toBe(0);
  return JSON.parse(stdout);
}

async function prepare(): Promise<void> {
  dir = await tempDir();
  const shape = { shape: [16, 24] };
  base = (await makeBase({ 'model.q_proj.weight': shape })).path;
  tuned = join(dir, 'tuned.safetensors');
  await writeTensors(tuned, {
    'model.q_proj.weight': { ...shape, values: Array.from({ length: 384 }, (_, i) => i / 8) },
  });
  update = join(dir, 'update');
}

describe('the fields of', () => {
  test('encode, decode, kinship and inspect of an update', async () => {
    await prepare();
    const encoded = await printed('encode', tuned, '--base', base, '--out', update);
    expect(Object.keys(encoded).sort()).toEqual(documented('## encode').sort());
    expect(Object.keys(encoded.settings as object).sort()).toEqual(documented('## Settings').sort());
    const decoded = await printed('decode', update, '--out', join(dir, 'vector'));
    expect(Object.keys(decoded).sort()).toEqual(documented('## decode').sort());
    const kinship = await printed('kinship', update, update);
    expect(Object.keys(kinship).sort()).toEqual(documented('## kinship').sort());
    const inspected = await printed('inspect', update);
    const common = ['kind', 'path', 'bytes'];
    expect(Object.keys(inspected).sort()).toEqual([...documented('`update`:'), ...common].sort());
    const checkpoint = await printed('inspect', base);
    const fields = documented('`safetensors file` and `checkpoint directory`:');
    expect(Object.keys(checkpoint).sort()).toEqual([...fields, ...common].sort());
  });

  test('inspect of an adapter', async () => {
    await prepare();
    const document = await printed('inspect', await makeAdapter(linear('model.q_proj', 16, 24)));
    const { kind, path, bytes, note, ...rest } = document;
    expect({ kind, path, bytes, note }).toMatchObject({ note: expect.any(String) });
    expect(Object.keys(rest).sort()).toEqual(documented('`LoRA adapter`:').sort());
  });

  test('the verbs that govern a community', { timeout: 120_000 }, async () => {
    await prepare();
    const home = ['--home', join(dir, 'home')];
    const charter = join(dir, 'charter.cbor');
    const expectFields = async (heading: string, ...argv: string[]) => {
      const document = await printed(...argv, ...home);
      expect(Object.keys(document).sort(), heading).toEqual([...new Set(documented(heading))].sort());
      return document;
    };
    const create = ['community', 'create', '--base', base, '--name', 'documents', '--out', charter];
    await expectFields('## community create', ...create, '--budget-bytes', '100000');
    await printed('join', charter, '--base', base, ...home);
    await expectFields('## status', 'status');
    const contributed = await expectFields('## contribute', 'contribute', tuned, '--force');
    await expectFields('## policy set', 'policy', 'set', '--budget-updates', '7');
    await expectFields('## policy dry-run', 'policy', 'dry-run');
    await expectFields('## seal', 'seal');
    await expectFields('## seal', 'seal');
    await expectFields('## revoke', 'revoke', contributed.update as string);
    await expectFields('## show', 'show', contributed.update as string);
    await expectFields('## why', 'why', contributed.update as string);
    await expectFields('## member list', 'member', 'list');
    await expectFields('## policy show', 'policy', 'show');
    await expectFields('## policy diff', 'policy', 'diff', '0', '1');
  });
});
