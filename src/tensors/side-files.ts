/** The small files beside the weights that a checkpoint is not usable without: configuration and tokenizer. */
import { type FileHandle, open, readdir, realpath, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { RunOptions } from '../run-options.ts';
import { compareNames } from './dtype.ts';
import { CheckpointError, quote } from './errors.ts';
import { openRegularFile, readFully } from './file.ts';
import { MAX_SIDE_FILE_BYTES, MAX_SIDE_FILES } from './limits.ts';
import { isPlainName } from './shard-index.ts';

export interface SideFile {
  readonly name: string;
  readonly path: string;
  readonly size: number;
}

/** Something odd that does not stop the work. */
export interface CheckpointWarning {
  readonly code: 'SIDE_FILE_SKIPPED' | 'TOTAL_SIZE_DIFFERS' | 'INTERRUPTED_REPLACEMENT';
  readonly message: string;
}

/**
 * What is carried along: configurations (also of preprocessors), tokenizers with their vocabularies and merges, chat
 * templates. Model cards, code and training logs are not: they describe another model, or could be run.
 */
const CARRIED: readonly RegExp[] = [
  /^([a-z0-9_]+_)?config\.json$/,
  /^tokenizer[^/]*\.(json|model|txt)$/,
  /^(special_tokens_map|added_tokens|normalizer|vocab|merges)\.(json|txt)$/,
  /^(spiece|sentencepiece|vocab|source|target)[a-z0-9_.]*\.(model|spm)$/,
  /^chat_template\.(jinja|json)$/,
  /\.tiktoken$/,
];

const NOT_CARRIED: ReadonlySet<string> = new Set(['adapter_config.json']);

/**
 * Lists the side files of a directory, in code-point order. Files above the limits, and links that lead out of the
 * directory, are left out with a warning.
 */
export async function listSideFiles(dir: string): Promise<{ files: SideFile[]; warnings: CheckpointWarning[] }> {
  const files: SideFile[] = [];
  const warnings: CheckpointWarning[] = [];
  const skip = (name: string, reason: string) => {
    warnings.push({ code: 'SIDE_FILE_SKIPPED', message: `${quote(name)} was left out: ${reason}.` });
  };
  const names = (await readdir(dir)).filter(isCarried).sort(compareNames);
  const root = await realpath(dir);
  for (const name of names) {
    const path = join(dir, name);
    const real = await realpath(path).catch(() => undefined);
    const info = real === undefined ? undefined : await stat(real).catch(() => undefined);
    if (real === undefined || info === undefined || !info.isFile()) skip(name, 'not a regular file');
    else if (!staysInside(real, root)) skip(name, 'a link that leads out of the directory');
    else if (info.size > MAX_SIDE_FILE_BYTES) skip(name, `${info.size} bytes, above ${MAX_SIDE_FILE_BYTES}`);
    else if (files.length === MAX_SIDE_FILES) skip(name, `more than ${MAX_SIDE_FILES} side files`);
    else files.push({ name, path, size: info.size });
  }
  return { files, warnings };
}

function isCarried(name: string): boolean {
  return isPlainName(name) && !NOT_CARRIED.has(name) && CARRIED.some((pattern) => pattern.test(name));
}

/**
 * A copied link would publish what it points to. The Hugging Face cache links `snapshots/<revision>/<file>` to
 * `blobs/<hash>` of the same repository; nothing else is followed.
 */
export function staysInside(real: string, root: string): boolean {
  const dir = dirname(real);
  return dir === root || dir === join(root, '..', '..', 'blobs');
}

/** Copies a side file into a directory under construction and flushes it. */
export async function copySideFile(from: string, to: string, options: RunOptions = {}): Promise<void> {
  const { handle, size } = await openRegularFile(from);
  try {
    if (size > MAX_SIDE_FILE_BYTES) {
      const text = `${from}: ${size} bytes, above the ${MAX_SIDE_FILE_BYTES} of a side file. Leave it out.`;
      throw new CheckpointError('SIDE_FILE_LIMIT', text, { path: from, size, limit: MAX_SIDE_FILE_BYTES });
    }
    const bytes = new Uint8Array(size);
    await readFully(handle, bytes, 0, from, options);
    await writeNewFile(to, bytes);
  } finally {
    await handle.close();
  }
}

/** Writes and flushes a file that must not exist yet. */
export async function writeNewFile(path: string, bytes: Uint8Array): Promise<void> {
  const file: FileHandle = await open(path, 'wx');
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}
