import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { temporaryDirectory } from './support.ts';

const KERNEL = new URL('../../../src/codec/kernel/', import.meta.url);
const script = await readFile(new URL('build.sh', KERNEL), 'utf8');
const version = /^# Made with version (\S+) of both/m.exec(script)?.[1];

/** The version a tool says that it has; null where there is no such tool. */
function versionOf(tool: string): string | null {
  try {
    const text = execFileSync(tool, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return /\d+\.\d+\.\d+/.exec(text)?.[0] ?? null;
  } catch {
    return null;
  }
}

test('the build script names the version that it was made with', () => {
  expect(version).toMatch(/^\d+\.\d+\.\d+$/);
});

test('the C sources give exactly the WebAssembly beside them', async (context) => {
  for (const tool of ['clang-19', 'wasm-ld-19']) {
    const found = versionOf(tool);
    const why = `needs ${tool} ${version}, and here is ${found ?? 'none'}`;
    if (found !== version) context.skip(why);
  }
  const out = join(await temporaryDirectory(), 'wasm.ts');
  execFileSync('sh', [fileURLToPath(new URL('build.sh', KERNEL)), out], { stdio: 'pipe' });
  const [built, kept] = [await readFile(out, 'utf8'), await readFile(new URL('wasm.ts', KERNEL), 'utf8')];
  expect(built === kept, 'src/codec/kernel/wasm.ts is not what build.sh makes: run it and commit both').toBe(true);
}, 120_000);
