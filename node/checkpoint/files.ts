import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Charter, CheckpointDocument, CheckpointFile } from '../../src/log/index.ts';
import { MAX_CONTENT_BYTES } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { dtypeBytes, isDtype, MAX_HEADER_BYTES, SINGLE_FILE } from '../../src/tensors/index.ts';
import { NodeError } from '../errors.ts';
import { SIDECAR_FILE } from './sidecar.ts';

/** Bytes of a tensor's entry in a safetensors header beside its name: keys, dtype, eight dimensions, two offsets. */
const HEADER_ENTRY_BYTES = 384;
/** A character of a name takes at most this many bytes in JSON: a control character becomes `\u00XX`. */
const JSON_ESCAPE_BYTES = 6;
/** Room for the header's metadata, in bytes: community, recipe and what later versions may add. */
const HEADER_METADATA_BYTES = 64 * 1024;
/** Names that one error lists; the rest are counted. */
const MAX_NAMED_FILES = 10;

/** Fewest and most bytes that the weights of a merged checkpoint take: the tensors' bytes, and the header. */
export function weightsBytes(charter: Charter): { min: number; max: number } {
  let data = 0;
  let header = HEADER_METADATA_BYTES;
  for (const { name, dtype, shape } of charter.base.tensors) {
    // Every dtype of a charter is known; the widest would only loosen the bound.
    data += shape.reduce((product, size) => product * size, isDtype(dtype) ? dtypeBytes(dtype) : 8);
    header += HEADER_ENTRY_BYTES + JSON_ESCAPE_BYTES * Buffer.byteLength(name);
  }
  return { min: data, max: Math.min(MAX_CONTENT_BYTES, data + 8 + Math.min(header, MAX_HEADER_BYTES)) };
}

/** Names of the files that a merged checkpoint of this community has, beside the sidecar. */
export function checkpointNames(charter: Charter): string[] {
  return [SINGLE_FILE, ...charter.base.sideFiles.map(({ name }) => name)];
}

/**
 * The files to take of those that a peer offers: the weights and the charter's side files, each of a size that it can
 * have. Anything else stays with the peer: code or pickled weights beside the checkpoint would be run by who loads it.
 *
 * @throws NodeError `VERIFY_FAILED` when one is missing or has a size that it cannot have
 */
export function filesToTake(document: CheckpointDocument, charter: Charter, peer: string): CheckpointFile[] {
  const offered = new Map(document.files.map((file) => [file.name, file]));
  const take = (name: string, min: number, max: number): CheckpointFile => {
    const file = offered.get(name);
    if (file !== undefined && file.size >= min && file.size <= max) return file;
    const what = file === undefined ? `has no ${name}` : `has a ${name} of ${file.size} bytes`;
    throw new NodeError(
      'VERIFY_FAILED',
      `the checkpoint that ${peer} offers ${what}; by the charter it has ${min === max ? min : `${min} to ${max}`} bytes: pull from another node`,
      { peer, name, size: file?.size ?? null, min, max },
    );
  };
  const weights = weightsBytes(charter);
  return [
    ...charter.base.sideFiles.map(({ name, size }) => take(name, size, size)),
    take(SINGLE_FILE, weights.min, weights.max),
  ];
}

/**
 * Holds the files beside the weights against the charter, by size and hash.
 *
 * @throws NodeError `VERIFY_FAILED` naming those that are missing or have other content
 */
export async function checkSideFiles(directory: string, charter: Charter, run: RunOptions = {}): Promise<void> {
  const wrong: string[] = [];
  for (const { name, size, sha256 } of charter.base.sideFiles) {
    run.signal?.throwIfAborted();
    const path = join(directory, name);
    const found = await stat(path).catch(() => undefined);
    const same = found?.isFile() === true && found.size === size && (await sha256Of(path)).equals(sha256);
    if (!same) wrong.push(name);
  }
  if (wrong.length > 0) {
    throw refused(directory, wrong, 'are missing or not what the charter says', 'Pull it again, from another node.');
  }
}

/**
 * Checks that a checkpoint directory has the charter's side files, weights and a sidecar, and nothing else.
 *
 * @throws NodeError `VERIFY_FAILED` naming what is missing, changed or too much
 */
export async function checkDirectory(directory: string, charter: Charter, run: RunOptions = {}): Promise<void> {
  const allowed = new Set([...checkpointNames(charter), SIDECAR_FILE]);
  const extra = (await readdir(directory)).filter((name) => !allowed.has(name)).sort();
  if (extra.length > 0) {
    throw refused(
      directory,
      extra,
      'do not belong to this checkpoint',
      'Remove them: nothing says where they come from.',
    );
  }
  await checkSideFiles(directory, charter, run);
}

function refused(directory: string, names: readonly string[], what: string, advice: string): NodeError {
  const named = names.slice(0, MAX_NAMED_FILES).map((name) => JSON.stringify(name));
  const more = names.length > named.length ? ` and ${names.length - named.length} more` : '';
  return new NodeError('VERIFY_FAILED', `in ${directory}, ${named.join(', ')}${more} ${what}. ${advice}`, {
    path: directory,
    files: names.slice(0, MAX_NAMED_FILES),
    count: names.length,
  });
}

async function sha256Of(path: string): Promise<Buffer> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest();
}
