import { execFile } from 'node:child_process';
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { randomTensor } from './stored.ts';
import { temporaryDirectory } from './support.ts';

const run = promisify(execFile);
const CHILD = fileURLToPath(new URL('encode-child.ts', import.meta.url));
const ELEMENTS = 4_000_000;

test.each(['global', 'tensor'])(
  'peak memory follows the largest tensor, not the model: %s',
  async (mode) => {
    const directory = await temporaryDirectory();
    const [base, tune] = [join(directory, 'base'), join(directory, 'tune')];
    await writeFile(tune, randomTensor('BF16', ELEMENTS, 3).bytes);
    await writeFile(base, '');
    await truncate(base, 2 * ELEMENTS);
    const peak = async (tensors: number) => {
      const out = join(directory, 'payload');
      const { stdout } = await run(process.execPath, [CHILD, mode, String(tensors), String(ELEMENTS), base, tune, out]);
      return Number(stdout);
    };
    const [few, many] = [await peak(8), await peak(32)];
    // The payload itself is written piece by piece: it is 30 MB with 32 tensors.
    expect(many).toBeLessThan(1.2 * few);
    expect(few).toBeLessThan(400 * 1024);
  },
  120_000,
);
