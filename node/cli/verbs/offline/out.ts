import { lstat, readdir, realpath, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { CheckpointError, locateCheckpoint } from '../../../../src/tensors/index.ts';
import { NodeError } from '../../../errors.ts';

export interface OutRequest {
  /** What the verb is about to write there. */
  readonly kind: 'file' | 'directory';
  /** Replace what is there. */
  readonly force: boolean;
  /** What the verb reads: never replaced, not even by force. */
  readonly inputs: readonly string[];
}

/**
 * Checks an `--out` before any work is done: it is free (or an empty directory), or may be replaced.
 *
 * @returns the absolute path
 * @throws NodeError `OUT_EXISTS`, `USAGE`; CheckpointError `PARENT_MISSING`
 */
export async function checkOut(out: string, { kind, force, inputs }: OutRequest): Promise<string> {
  const path = resolve(out);
  const parent = await stat(dirname(path)).catch(() => undefined);
  if (parent?.isDirectory() !== true) {
    const text = `${path}: the directory that should hold it is not there. Create it first.`;
    throw new CheckpointError('PARENT_MISSING', text, { path });
  }
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return path;
  for (const input of inputs) {
    if (
      (await locateCheckpoint(input)
        .then(realpath)
        .catch(() => undefined)) === (await realpath(path).catch(() => undefined))
    ) {
      throw new NodeError('USAGE', `--out ${out} is what the command reads: choose another path`, { path });
    }
  }
  if (kind === 'directory' && found.isDirectory() && (await readdir(path)).length === 0) return path;
  if (!force) {
    throw new NodeError('OUT_EXISTS', `${path} exists: choose another --out, or replace it with --force`, { path });
  }
  if (kind === 'file' && !found.isFile()) {
    throw new NodeError('OUT_EXISTS', `${path} is not a file, so --force does not replace it: choose another --out`, {
      path,
    });
  }
  return path;
}
