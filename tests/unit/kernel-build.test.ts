import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { temporaryDirectory } from './codec/support.ts';

/** The version a tool says that it has; null where there is no such tool. */
function versionOf(tool: string): string | null {
  try {
    const text = execFileSync(tool, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return /\d+\.\d+\.\d+/.exec(text)?.[0] ?? null;
  } catch {
    return null;
  }
}

describe.each(['src/codec/kernel', 'src/compute/eigen/kernel'])('the kernel in %s', async (folder) => {
  const kernel = new URL(`../../${folder}/`, import.meta.url);
  const script = await readFile(new URL('../../scripts/build-kernel.sh', import.meta.url), 'utf8');
  const version = /^# Made with version (\S+) of both/m.exec(script)?.[1];

  test('has a build script that names the version that it was made with', () => {
    expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  });

  test('has C sources that give exactly the WebAssembly beside them', async (context) => {
    for (const tool of ['clang-19', 'wasm-ld-19']) {
      const found = versionOf(tool);
      const why = `needs ${tool} ${version}, and here is ${found ?? 'none'}`;
      if (found !== version) context.skip(why);
    }
    const out = join(await temporaryDirectory(), 'wasm.ts');
    execFileSync('sh', [fileURLToPath(new URL('build.sh', kernel)), out], { stdio: 'pipe' });
    const [built, kept] = [await readFile(out, 'utf8'), await readFile(new URL('wasm.ts', kernel), 'utf8')];
    expect(built === kept, `${folder}/wasm.ts is not what build.sh makes: run it and commit both`).toBe(true);
  }, 120_000);
});
