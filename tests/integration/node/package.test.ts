import { execFile } from 'node:child_process';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { scratch } from '../../unit/node/support.ts';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

describe('the package', () => {
  test('holds what a user needs, and neither fixtures, tests nor sources', async () => {
    // Without scripts: packing would build again under the feet of the other tests.
    const { stdout } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: ROOT,
      shell: false,
    });
    const [{ files }]: [{ files: { path: string; size: number }[] }] = JSON.parse(stdout);
    const paths = files.map(({ path }) => path);
    const needed = [
      'package.json',
      'LICENSE',
      'README.md',
      'bin/kinmerge.js',
      'dist/node/cli/main.js',
      'dist/node/work/merge-worker.js',
      'dist/node/work/payload-worker.js',
      'dist/src/index.js',
      'dist/src/index.d.ts',
    ];
    expect(paths).toEqual(expect.arrayContaining(needed));
    const allowed = /^(package\.json|LICENSE|README\.md|bin\/[^/]+\.js|docs\/.+\.md|dist\/.+\.(js|d\.ts|js\.map))$/;
    expect(paths.filter((path) => !allowed.test(path))).toEqual([]);
    // 8 MB of packed images would be noticed here, whatever their names.
    expect(Math.max(...files.map(({ size }) => size))).toBeLessThan(2 ** 20);
  });
});

describe('the direction of imports', () => {
  const BIOME = join(dirname(createRequire(import.meta.url).resolve('@biomejs/biome/package.json')), 'bin', 'biome');

  /** Lints one file at a place of the house, under the repository's own rules. */
  async function lint(path: string, from: string): Promise<string[]> {
    const house = await scratch();
    await copyFile(join(ROOT, 'biome.json'), join(house, 'biome.json'));
    const file = join(house, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, `import { thing } from '${from}';\n\nexport const other = thing;\n`);
    const args = [BIOME, 'lint', '--vcs-enabled=false', '--reporter=json', path];
    const result = await run(process.execPath, args, { cwd: house }).catch((error: { stdout: string }) => error);
    const report: { diagnostics: { category: string }[] } = JSON.parse(result.stdout);
    return report.diagnostics.map(({ category }) => category);
  }

  test.each([
    ['src/log/probe.ts', '../../node/files.ts'],
    ['src/probe.ts', '../protocols/index.ts'],
    ['src/probe.ts', 'libp2p'],
    ['src/probe.ts', '@libp2p/gossipsub'],
    ['src/deep/er/probe.ts', 'hono'],
    ['protocols/probe.ts', '../node/files.ts'],
    ['protocols/sync/probe.ts', 'node:fs/promises'],
    ['protocols/sync/probe.ts', 'commander'],
  ])('%s may not import %s', async (path, from) => {
    expect(await lint(path, from)).toContain('lint/style/noRestrictedImports');
  });

  test.each([
    ['src/log/probe.ts', '../errors.ts'],
    ['src/probe.ts', 'multiformats/cid'],
    ['protocols/probe.ts', '../src/errors.ts'],
    ['protocols/probe.ts', '@libp2p/gossipsub'],
    ['node/net/probe.ts', '../../protocols/index.ts'],
    ['node/probe.ts', '../src/errors.ts'],
    ['node/probe.ts', 'node:fs/promises'],
  ])('%s may import %s', async (path, from) => {
    expect(await lint(path, from)).toEqual([]);
  });
});
