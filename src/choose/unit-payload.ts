/** An update at its least-squares scales, as a payload among the temporary files. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeTaskVector, openPayload, type PayloadReader } from '../codec/index.ts';
import type { RunOptions } from '../run-options.ts';
import { defaultSettings } from './settings.ts';
import type { ChooseInput } from './types.ts';

/**
 * Encodes at a density in the default form with factor 1, calls `use`, and removes the file. All factors can be made of
 * it: tensors are linear in the factor, those that travel as two factors included.
 */
export async function withUnitPayload<Result>(
  { base, finetune, table, align = {}, threads }: ChooseInput,
  density: number,
  options: RunOptions,
  use: (payload: PayloadReader, path: string) => Promise<Result>,
): Promise<Result> {
  const scratch = await mkdtemp(join(tmpdir(), 'kinmerge-choose-'));
  try {
    const out = join(scratch, 'payload');
    const settings = { ...defaultSettings(density), scaleFactor: 1 };
    const pool = threads === undefined ? {} : { threads };
    await encodeTaskVector({ base, finetune, table, align, ...pool, ...settings }, out, options);
    const payload = await openPayload(out, table, options);
    try {
      return await use(payload, out);
    } finally {
      await payload.close();
    }
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
