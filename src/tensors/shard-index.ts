/** The index of a sharded checkpoint, `model.safetensors.index.json`: which tensor lies in which file. */
import { isUtf8 } from 'node:buffer';
import type { RunOptions } from '../run-options.ts';
import { CheckpointError, quote } from './errors.ts';
import { openRegularFile, readFully } from './file.ts';
import { MAX_INDEX_BYTES, MAX_INDEX_KEYS, MAX_NAME_BYTES, MAX_SHARDS, MAX_TENSORS } from './limits.ts';
import { SNIFF_BYTES, sniff } from './sniff.ts';
import { type JsonFault, JsonReader } from './strict-json.ts';

export interface ShardIndex {
  /** Tensor name to file name. */
  readonly weightMap: ReadonlyMap<string, string>;
  /** File names, each once, sorted. */
  readonly shards: readonly string[];
  /** What the index claims; published ones are often wrong. */
  readonly totalSize: number | undefined;
}

/** @throws CheckpointError INDEX_INVALID, INDEX_TOO_LARGE, TOO_MANY_SHARDS, UNSAFE_SHARD_NAME */
export async function readShardIndex(path: string, options: RunOptions = {}): Promise<ShardIndex> {
  const { handle, size } = await openRegularFile(path);
  try {
    if (size > MAX_INDEX_BYTES) {
      const text = `${path}: ${size} bytes, above ${MAX_INDEX_BYTES}.`;
      throw new CheckpointError('INDEX_TOO_LARGE', text, { path, size, limit: MAX_INDEX_BYTES });
    }
    const bytes = new Uint8Array(size);
    await readFully(handle, bytes, 0, path, options);
    return parseShardIndex(bytes, path);
  } finally {
    await handle.close();
  }
}

/** @param source - for messages */
export function parseShardIndex(bytes: Uint8Array, source: string): ShardIndex {
  const invalid = (reason: string, fields: Record<string, unknown> = {}) =>
    new CheckpointError('INDEX_INVALID', `${source}: ${reason} Download the index again.`, {
      path: source,
      reason,
      ...fields,
    });
  const foreign = sniff(bytes.subarray(0, SNIFF_BYTES));
  if (foreign !== undefined && foreign.kind !== 'json') {
    throw invalid(`not an index but ${foreign.advice}`, { kind: foreign.kind });
  }
  if (!isUtf8(bytes)) throw invalid('not UTF-8.');

  const reader = new JsonReader(bytes, (_fault: JsonFault, reason, offset) => {
    throw invalid(`byte ${offset}: ${reason}.`, { offset });
  });
  const weightMap = new Map<string, string>();
  const shards = new Set<string>();
  const seen = new Set<string>();
  let totalSize: number | undefined;
  reader.object((key) => {
    if (seen.has(key)) throw invalid(`the key ${quote(key)} occurs twice.`);
    if (seen.size === MAX_INDEX_KEYS) throw invalid(`more than ${MAX_INDEX_KEYS} keys.`, { limit: MAX_INDEX_KEYS });
    seen.add(key);
    if (key === 'metadata' && reader.peek() === 'object') {
      reader.object((field) => {
        if (field === 'total_size' && reader.peek() === 'number') totalSize = reader.number();
        else reader.skip();
      });
    } else if (key === 'weight_map') {
      reader.object((name) => {
        if (weightMap.has(name)) throw invalid(`tensor ${quote(name)} occurs twice.`, { name });
        if (weightMap.size === MAX_TENSORS) throw invalid(`more than ${MAX_TENSORS} tensors.`, { limit: MAX_TENSORS });
        const file = reader.string();
        if (!shards.has(file)) addShard(shards, file, source);
        weightMap.set(name, file);
      }, MAX_NAME_BYTES * 6);
    } else {
      reader.skip();
    }
  }, 1_024);
  reader.end();
  if (!seen.has('weight_map')) throw invalid('weight_map is missing.');
  return { weightMap, shards: [...shards].sort(), totalSize };
}

function addShard(shards: Set<string>, file: string, source: string): void {
  if (!isPlainName(file) || !file.endsWith('.safetensors')) {
    const text = `${source}: ${quote(file)} is not the plain name of a .safetensors file. Do not use this index.`;
    throw new CheckpointError('UNSAFE_SHARD_NAME', text, { path: source, file });
  }
  if (shards.size === MAX_SHARDS) {
    const text = `${source}: more than ${MAX_SHARDS} shards. Save the model with larger shards.`;
    throw new CheckpointError('TOO_MANY_SHARDS', text, { path: source, limit: MAX_SHARDS });
  }
  shards.add(file);
}

/** No separators, drive letters, wildcards, control or direction characters; no dot first, no dot or space last. */
const PLAIN = /^[^./\\:*?"<>|\p{Cc}\p{Cf}\p{Cs}]([^/\\:*?"<>|\p{Cc}\p{Cf}\p{Cs}]*[^./\\:*?"<>| \p{Cc}\p{Cf}\p{Cs}])?$/u;

/** Names that Windows gives to devices, with any extension. */
const DEVICE = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/** Whether a name from a file is safe to use inside a directory: one visible path component on every platform. */
export function isPlainName(name: string): boolean {
  return PLAIN.test(name) && !DEVICE.test(name) && Buffer.byteLength(name) <= 255;
}
