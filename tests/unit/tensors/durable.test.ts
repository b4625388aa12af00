import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { mkdir, readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import {
  abandonedSiblings,
  fsyncDir,
  removeTempSiblings,
  renameDurably,
  replaceDirectoryDurably,
  tempSibling,
  writeFileDurably,
} from '../../../src/durable.ts';
import { tempDir } from './files.ts';

const DURABLE = new URL('../../../src/durable.ts', import.meta.url).href;

describe('writing a file durably', () => {
  test('writes, replaces and leaves no temporary name', async () => {
    const dir = await tempDir();
    const path = join(dir, 'x');
    await writeFileDurably(path, Buffer.from('one'));
    await writeFileDurably(path, 'two');
    expect(await readFile(path, 'utf8')).toBe('two');
    expect(await readdir(dir)).toEqual(['x']);
  });

  test.skipIf(process.platform === 'win32')('gives a key its mode whatever the umask', async () => {
    const path = join(await tempDir(), 'key');
    await writeFileDurably(path, 'secret', 0o600);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  test('that fails leaves nothing', async () => {
    const dir = await tempDir();
    await mkdir(join(dir, 'taken', 'full'), { recursive: true });
    await expect(writeFileDurably(join(dir, 'taken'), 'x')).rejects.toThrow();
    expect(await readdir(dir)).toEqual(['taken']);
    await expect(writeFileDurably(join(dir, 'no', 'x'), 'x')).rejects.toThrow(
      expect.objectContaining({ code: 'ENOENT' }),
    );
  });

  test('survives SIGKILL at any instant: old or new, never a part', async () => {
    const dir = await tempDir();
    const path = join(dir, 'state');
    const script = `
      import { writeFileDurably } from ${JSON.stringify(DURABLE)};
      for (let i = 0; ; i = (i + 1) % 256) {
        await writeFileDurably(${JSON.stringify(path)}, new Uint8Array(300_000).fill(i));
        process.stdout.write('.');
      }`;
    const flags = ['--experimental-strip-types', '--no-warnings', '--input-type=module', '--eval', script];
    for (let round = 0; round < 3; round++) {
      const child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'] });
      const gone = new Promise((resolve) => child.once('exit', resolve));
      let writes = 0;
      const goal = 1 + Math.floor(Math.random() * 20);
      for await (const dots of child.stdout.iterator({ destroyOnReturn: false })) {
        writes += (dots as Buffer).length;
        if (writes >= goal) break;
      }
      child.kill('SIGKILL');
      await gone;
      const bytes = await readFile(path);
      expect(bytes.length).toBe(300_000);
      expect(bytes.every((byte) => byte === bytes[0])).toBe(true);
    }
    await removeTempSiblings(dir);
    expect(await readdir(dir)).toEqual(['state']);
  });
});

describe('temporary names', () => {
  test('are hidden, unique, beside the target, and fit file systems', async () => {
    const dir = await tempDir();
    for (const name of ['a', 'x'.repeat(255), '😀'.repeat(63)]) {
      const temp = tempSibling(join(dir, name));
      expect(dirname(temp)).toBe(dir);
      expect(temp).not.toBe(tempSibling(join(dir, name)));
      expect(basename(temp).startsWith('.')).toBe(true);
      expect(Buffer.byteLength(basename(temp))).toBeLessThanOrEqual(255);
      await writeFileDurably(join(dir, name), 'x');
    }
    expect((await readdir(dir)).length).toBe(3);
  });

  test('of dead processes and earlier runs are removed, those in use stay', async () => {
    const dir = await tempDir();
    const mine = basename(tempSibling(join(dir, 'a')));
    const hex = '0123456789abcdef';
    // No process has this number: Linux ends at 2^22. Process 1 always runs.
    const dead = `.a.4194999-${hex}.kinmerge-tmp`;
    const other = `.a.1-${hex}.kinmerge-tmp`;
    for (const name of [mine, other, dead, 'b.kinmerge-tmp', '.c.tmp']) await writeFile(join(dir, name), 'x');
    await mkdir(join(dir, `.d.4194998-${hex}.kinmerge-tmp`, 'full'), { recursive: true });
    // Age does not count, only the owner does: this file is in use by the process that made it.
    await utimes(join(dir, mine), 0, 0);
    expect((await removeTempSiblings(dir)).sort()).toEqual([dead, `.d.4194998-${hex}.kinmerge-tmp`].sort());
    expect((await readdir(dir)).sort()).toEqual(['.c.tmp', 'b.kinmerge-tmp', mine, other].sort());
    expect(await removeTempSiblings(join(dir, 'absent'))).toEqual([]);
  });

  test('that dead processes left of one path are found, those of another or in use are not', async () => {
    const dir = await tempDir();
    const dead = 4194999;
    const mine = basename(tempSibling(join(dir, 'a')));
    const long = 'x'.repeat(200);
    const names = [
      `.a.${dead}-0123456789abcdef.kinmerge-tmp`,
      `.a.b.${dead}-0123456789abcdef.kinmerge-tmp`,
      `.a.${dead}-0123456789abcdef.kinmerge-old`,
      basename(tempSibling(join(dir, long))).replace(`.${process.pid}-`, `.${dead}-`),
      mine,
    ];
    for (const name of names) await mkdir(join(dir, name));
    expect(await abandonedSiblings(join(dir, 'a'))).toEqual([join(dir, names[0]!)]);
    expect(await abandonedSiblings(join(dir, 'a.b'))).toEqual([join(dir, names[1]!)]);
    expect(await abandonedSiblings(join(dir, long))).toEqual([join(dir, names[3]!)]);
    expect(await abandonedSiblings(join(dir, 'absent', 'a'))).toEqual([]);
  });
});

describe('renaming durably', () => {
  test('moves files and directories, also across directories', async () => {
    const dir = await tempDir();
    await mkdir(join(dir, 'from', 'd'), { recursive: true });
    await writeFile(join(dir, 'from', 'f'), 'x');
    await renameDurably(join(dir, 'from', 'f'), join(dir, 'f'));
    await renameDurably(join(dir, 'from', 'd'), join(dir, 'd'));
    await fsyncDir(dir);
    expect((await readdir(dir)).sort()).toEqual(['d', 'f', 'from']);
  });

  test('a directory under replacement is there at every step, under its own name or as the replaced one', async () => {
    const dir = await tempDir();
    const target = join(dir, 'target');
    const staging = join(dir, 'staging');
    await mkdir(target);
    await writeFile(join(target, 'old'), 'x');
    await mkdir(staging);
    await writeFile(join(staging, 'new'), 'x');
    let done = false;
    const replacing = replaceDirectoryDurably(staging, target).finally(() => {
      done = true;
    });
    const steps = ['old', 'replaced old', 'new'];
    let step = 0;
    // A look may miss a step, for the renames go on meanwhile; but the directory is always there, and never goes back.
    while (!done) {
      const names = readdirSync(dir);
      const old = names.find((name) => /^\.target\.\d+-[0-9a-f]{16}\.kinmerge-old$/.test(name));
      if (!names.includes('target') && old === undefined) expect.fail(names.join());
      const now = names.includes('target') ? look(target) : look(join(dir, old!), 'replaced ');
      if (now !== undefined) {
        expect(steps.indexOf(now)).toBeGreaterThanOrEqual(step);
        step = steps.indexOf(now);
      }
      await setImmediate();
    }
    await replacing;
    expect(look(target)).toBe('new');
    expect(await readdir(dir)).toEqual(['target']);
  });

  test('a directory that cannot be replaced stays', async () => {
    const dir = await tempDir();
    const target = join(dir, 'target');
    await mkdir(target);
    await writeFile(join(target, 'old'), 'x');
    await expect(replaceDirectoryDurably(join(dir, 'absent'), target)).rejects.toThrow();
    expect(await readdir(dir)).toEqual(['target']);
    expect(await readdir(target)).toEqual(['old']);
  });
});

/** Names in a directory; undefined when it was renamed since it was listed. */
function look(directory: string, prefix = ''): string | undefined {
  try {
    return prefix + readdirSync(directory).join();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
