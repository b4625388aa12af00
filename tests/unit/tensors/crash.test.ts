import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { removeTempSiblings } from '../../../src/durable.ts';
import { createCheckpointDirectory, openCheckpoint } from '../../../src/tensors/index.ts';
import { tempDir } from './files.ts';

const TENSORS = new URL('../../../src/tensors/index.ts', import.meta.url).href;
const plan = { tensors: [{ name: 'a', dtype: 'U8', shape: [50_000] }], overwrite: true } as const;

test('overwriting a checkpoint directory survives SIGKILL at any instant: old or new, never a part', async () => {
  const root = await tempDir();
  const target = join(root, 'out');
  const script = `
    import { createCheckpointDirectory } from ${JSON.stringify(TENSORS)};
    for (let i = 0; ; i = (i + 1) % 256) {
      const writer = await createCheckpointDirectory(${JSON.stringify(target)}, ${JSON.stringify(plan)});
      await writer.write('a', new Uint8Array(50_000).fill(i));
      await writer.addFile('config.json', Buffer.from(String(i)));
      await writer.commit();
      process.stdout.write('.');
    }`;
  const flags = ['--experimental-strip-types', '--no-warnings', '--input-type=module', '--eval', script];
  for (let round = 0; round < 5; round++) {
    const child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'] });
    const gone = new Promise((resolve) => child.once('exit', resolve));
    let writes = 0;
    for await (const dots of child.stdout.iterator({ destroyOnReturn: false })) {
      writes += (dots as Buffer).length;
      if (writes >= 3) break;
    }
    // One write takes some milliseconds: spread the kill over it.
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
    child.kill('SIGKILL');
    await gone;
    const checkpoint = await openCheckpoint(target);
    const bytes = await checkpoint.readRaw('a');
    expect(bytes.every((byte) => byte === bytes[0])).toBe(true);
    expect(checkpoint.sideFiles.map(({ size }) => size)).toEqual([String(bytes[0]).length]);
    await checkpoint.close();
  }
  const writer = await createCheckpointDirectory(target, plan);
  await writer.write('a', new Uint8Array(50_000));
  await writer.commit();
  await removeTempSiblings(root);
  expect(await readdir(root)).toEqual(['out']);
});
