import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

test('the package gives the library under its own name, and no network with it', async () => {
  const script = `
    import { registerHooks } from 'node:module';
    const loaded = [];
    registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) });
    const library = await import('kinmerge');
    const names = ['encode', 'merge', 'evaluate', 'openCheckpoint', 'KinshipState', 'decide', 'verifyMerged', 'signRecord'];
    const types = names.map((name) => typeof library[name]);
    console.log(JSON.stringify({ types, network: loaded.filter((url) => /libp2p|[/]dist[/](node|protocols)[/]/.test(url)) }));
  `;
  const run = promisify(execFile);
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', script], { cwd: ROOT });
  expect(JSON.parse(stdout)).toEqual({ types: new Array(8).fill('function'), network: [] });
});
