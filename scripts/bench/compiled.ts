import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { runProgram } from './child.ts';
import type { Workspace } from './workspace.ts';

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url));
const HERE = fileURLToPath(new URL('./', import.meta.url));

const compiled = new WeakMap<Workspace, Promise<string>>();

/**
 * A module of this folder as the JavaScript that the package would have. What is measured runs compiled, as everybody
 * runs it: taking the types away while loading costs Node some 40 MiB and a second, which is not the library's.
 *
 * @param path - relative to this folder, without its extension; its name ends in `-child`
 */
export async function measuredModule(workspace: Workspace, path: string, signal: AbortSignal): Promise<URL> {
  const pending = compiled.get(workspace) ?? compile(join(workspace.scratch, 'compiled'), signal);
  compiled.set(workspace, pending);
  return pathToFileURL(join(await pending, 'scripts', 'bench', `${path}.js`));
}

async function compile(out: string, signal: AbortSignal): Promise<string> {
  await mkdir(out);
  await writeFile(join(out, 'package.json'), JSON.stringify({ type: 'module' }));
  await symlink(join(REPOSITORY, 'node_modules'), join(out, 'node_modules'), 'junction');
  const manifest = createRequire(import.meta.url).resolve('typescript/package.json');
  const tsc = join(dirname(manifest), 'bin', 'tsc');
  await runProgram([process.execPath, tsc, '-p', join(HERE, 'tsconfig.measured.json'), '--outDir', out], { signal });
  return out;
}
