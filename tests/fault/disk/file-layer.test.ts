import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { random, scratch } from '../../unit/node/support.ts';
import type { Bytes, Names } from './disk.ts';
import type { Way } from './programs/save.ts';
import { tear } from './tear.ts';
import { Traced } from './traced.ts';

const PROGRAM = fileURLToPath(new URL('./programs/save.ts', import.meta.url));
const OLD = 'old'.repeat(500);
const NEW = 'new'.repeat(1000);

async function prepared() {
  const work = await scratch();
  const roots = { home: join(work, 'home'), out: join(work, 'out') };
  for (const root of Object.values(roots)) await mkdir(root);
  await writeFile(join(roots.home, 'file'), OLD);
  return { traced: await Traced.prepare(join(work, 'trace'), roots, { powerLoss: true }), home: roots.home };
}

const run = (traced: Traced, how: Way, home: string) =>
  promisify(execFile)(process.execPath, [...traced.execArgv, PROGRAM, how, home], {
    env: { ...process.env, ...traced.env },
  });

/** The files after the program ended and the power failed. */
async function afterLoss(how: Way, mode: { names: Names; bytes: Bytes }, seed = 1): Promise<Record<string, string>> {
  const { traced, home } = await prepared();
  await run(traced, how, home);
  const disk = await traced.disk();
  expect(await disk.differences()).toEqual([]);
  await disk.losePower(mode, random(seed));
  return filesOf(home);
}

async function filesOf(directory: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) files[path.slice(directory.length + 1)] = await readFile(path, 'utf8');
  }
  return files;
}

const LOSS = { names: 'none', bytes: 'lost' } as const;

describe('what a power loss leaves', () => {
  test.each<[Way, Record<string, string>]>([
    ['durably', { file: NEW }],
    ['in a worker thread', { file: NEW }],
    ['in place and synced', { file: NEW }],
    ['by appending and syncing', { file: OLD + NEW }],
    ['by a stream that flushes', { file: NEW }],
    ['by removing it durably', {}],
    ['by a link', { file: OLD, temp: OLD }],
    ['in a new directory', { file: OLD, 'deep/inner/file': NEW }],
  ])(
    'of a file that was saved %s is all of it',
    async (how, files) => {
      for (const names of ['none', 'all', 'some'] as const) {
        for (const bytes of ['lost', 'torn'] as const) expect(await afterLoss(how, { names, bytes })).toEqual(files);
      }
    },
    60_000,
  );

  test.each<[Way, Record<string, string>]>([
    ['without any sync', { file: OLD }],
    ['by appending', { file: OLD }],
    ['by removing it', { file: OLD }],
    ['with a rename but no sync of the content', { file: '' }],
    ['with a rename but no sync of the directory', { file: OLD }],
    ['by a stream that does not flush', { file: '' }],
    ['by a handle, synced and then written on', { file: NEW }],
    ['in a new directory whose own name is not synced', { file: OLD }],
    ['in a directory that goes', { file: OLD, 'inner/file': NEW }],
  ])('of a file that was saved %s is only what was synced', async (how, files) => {
    expect(await afterLoss(how, LOSS)).toEqual(files);
  });

  test('may be a rename that no sync made safe', async () => {
    const how = 'with a rename but no sync of the directory';
    expect(await afterLoss(how, { names: 'all', bytes: 'lost' })).toEqual({ file: NEW });
  });

  test('may be a part of the names that were not synced, in the order in which they came', async () => {
    const found = new Set<string>();
    for (let seed = 0; seed < 12; seed++) {
      const files = await afterLoss(
        'with a rename but no sync of the directory',
        { names: 'some', bytes: 'lost' },
        seed,
      );
      found.add(
        Object.entries(files)
          .map(([name, text]) => `${name} ${text.slice(0, 3)}`)
          .sort()
          .join(),
      );
    }
    // Before the new file, with it, and after the rename.
    expect([...found].sort()).toEqual(['file new', 'file old', 'file old,temp new']);
  }, 60_000);

  test('may be a part of an append that was not synced', async () => {
    const text = (await afterLoss('by appending', { names: 'none', bytes: 'torn' }, 3)).file!;
    expect(text.startsWith(OLD)).toBe(true);
    expect(text).not.toBe(OLD + NEW);
  });
});

test('a torn write ends at a byte or at a sector, and what lies beyond is what was safe, zeros, or nothing', () => {
  const [safe, now] = [new Uint8Array(1_000).fill(1), new Uint8Array(5_000).fill(2)];
  now.fill(1, 0, 800);
  const sectors = new Set<boolean>();
  const draw = random(5);
  for (let i = 0; i < 500; i++) {
    // Three writes: up to 800, which is safe, to 2000, and the last one.
    const torn = tear({ safe, now, last: { from: 2_000, until: 5_000 } }, draw);
    expect(torn.length).toBeGreaterThanOrEqual(1_000);
    expect(torn.length).toBeLessThanOrEqual(5_000);
    expect(torn.subarray(0, 800).every((byte) => byte === 1)).toBe(true);
    const written = torn.subarray(2_000).lastIndexOf(2) + 1;
    expect(written).toBeLessThan(3_000);
    expect(torn.subarray(2_000, 2_000 + written).every((byte) => byte === 2)).toBe(true);
    expect(torn.subarray(2_000 + written).every((byte) => byte === 0)).toBe(true);
    if (written > 0) sectors.add((2_000 + written) % 512 === 0);
  }
  expect(sectors).toEqual(new Set([true, false]));
});

test('a directory that is removed whole is there whole or not at all, wherever its removal is cut off', async () => {
  const left = new Set<string>();
  for (let nth = 1; ; nth++) {
    const { traced, home } = await prepared();
    const checkpoints = join(home, 'derived', 'checkpoints');
    await mkdir(checkpoints, { recursive: true });
    await traced.arm('collection', nth, 'before');
    const killed = await run(traced, 'in a directory that goes whole', checkpoints).then(
      () => false,
      () => true,
    );
    if (!killed) break;
    const names = Object.keys(await filesOf(checkpoints)).filter((name) => !name.startsWith('.'));
    left.add(names.sort().join());
  }
  expect(left).toEqual(new Set(['inner/one,inner/two', '']));
}, 60_000);

describe('a traced process', () => {
  test('kills itself before or after the operation that it was armed for, in whatever thread that is', async () => {
    for (const how of ['durably', 'in a worker thread'] as const) {
      const { traced, home } = await prepared();
      const stores = join(home, 'records');
      await mkdir(stores);
      await traced.arm('receive', 4, 'before');
      await expect(run(traced, how, stores)).rejects.toMatchObject({ signal: 'SIGKILL' });
      // Opened, written, synced, and not renamed.
      expect(await traced.killed()).toMatchObject({ when: 'before', op: 'rename', nth: 4 });
      expect(await readdir(stores)).toEqual([expect.stringMatching(/kinmerge-tmp$/)]);

      const after = await prepared();
      await mkdir(join(after.home, 'records'));
      await after.traced.arm('receive', 4, 'after');
      await expect(run(after.traced, how, join(after.home, 'records'))).rejects.toMatchObject({ signal: 'SIGKILL' });
      expect(await readdir(join(after.home, 'records'))).toEqual(['file']);
    }
  });

  test('counts only the operations of its phase', async () => {
    const { traced, home } = await prepared();
    const token = await traced.arm('fold', 1, 'before');
    await run(traced, 'durably', home);
    expect(await traced.killed()).toBeUndefined();
    expect(await traced.counted(token)).toBe(0);
  });
});
