import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { findReplaced } from '../durable.ts';
import type { RunOptions } from '../run-options.ts';
import { type Checkpoint, makeCheckpoint } from './checkpoint.ts';
import { asCheckpointError, CheckpointError, type CheckpointErrorCode, quote } from './errors.ts';
import { openSafetensorsFile, type SafetensorsFile } from './file.ts';
import type { ParseOptions } from './header.ts';
import { explainHubFailure, locateCheckpoint } from './hub-cache.ts';
import { isHubName } from './hub-name.ts';
import { readShardIndex, type ShardIndex } from './shard-index.ts';
import { type CheckpointWarning, listSideFiles } from './side-files.ts';

export const SINGLE_FILE = 'model.safetensors';
export const INDEX_FILE = 'model.safetensors.index.json';

export interface OpenOptions extends RunOptions, Pick<ParseOptions, 'unknownFields'> {}

/**
 * Opens a safetensors file, or a directory in Hugging Face layout: `model.safetensors`, or shards with
 * `model.safetensors.index.json`, or such a directory by its name in the local Hugging Face cache, `hf:org/name` or
 * `hf:org/name@revision`. Only headers are read; sizes are checked, so a truncated file fails here.
 *
 * @throws SafetensorsError (a file is malformed), CheckpointError (the path or the layout is)
 */
export async function openCheckpoint(path: string, options: OpenOptions = {}): Promise<Checkpoint> {
  options.signal?.throwIfAborted();
  if (isHubName(path)) {
    const snapshot = await locateCheckpoint(path);
    return openDirectory(snapshot, options, []).catch(async (error: unknown) => {
      throw await explainHubFailure(path, snapshot, error);
    });
  }
  const warnings: CheckpointWarning[] = [];
  const info = await stat(path).catch(async (error: unknown) => {
    const old = await findReplaced(path).catch(() => undefined);
    if (old === undefined) throw asCheckpointError(error, path);
    // The replacement of this directory was cut off between its two renames: the old content is complete.
    warnings.push({
      code: 'INTERRUPTED_REPLACEMENT',
      message: `${path} is read from ${old}: overwriting it was cut off.`,
    });
    path = old;
    return stat(old);
  });
  if (info.isDirectory()) return openDirectory(path, options, warnings);
  const file = await openSafetensorsFile(path, options);
  return makeCheckpoint({ path, files: [file], weightFiles: weightFiles([file]), sideFiles: [], warnings });
}

async function openDirectory(dir: string, options: OpenOptions, warnings: CheckpointWarning[]): Promise<Checkpoint> {
  const files: SafetensorsFile[] = [];
  try {
    const names = new Set(await readdir(dir));
    if (names.has(SINGLE_FILE) && names.has(INDEX_FILE)) {
      const text = `${dir}: has both ${SINGLE_FILE} and ${INDEX_FILE}. Remove the one that is stale.`;
      throw new CheckpointError('AMBIGUOUS_WEIGHTS', text, { path: dir });
    }
    if (names.has(INDEX_FILE)) {
      const index = await readShardIndex(join(dir, INDEX_FILE), options);
      await openShards(dir, index, names, files, options);
      const found = files.reduce((sum, file) => sum + dataBytes(file), 0);
      if (index.totalSize !== undefined && index.totalSize !== found) {
        const message = `${INDEX_FILE} claims ${index.totalSize} bytes of tensors, the shards have ${found}.`;
        warnings.push({ code: 'TOTAL_SIZE_DIFFERS', message });
      }
    } else if (names.has(SINGLE_FILE)) {
      files.push(await openSafetensorsFile(join(dir, SINGLE_FILE), options));
    } else {
      throw noWeights(dir, names);
    }
    const side = await listSideFiles(dir);
    return makeCheckpoint({
      path: dir,
      files,
      weightFiles: weightFiles(files),
      sideFiles: side.files,
      warnings: [...warnings, ...side.warnings],
    });
  } catch (error) {
    await Promise.all(files.map((file) => file.close()));
    throw asCheckpointError(error, dir);
  }
}

/** Opens every shard and checks index against headers both ways. */
async function openShards(
  dir: string,
  index: ShardIndex,
  names: ReadonlySet<string>,
  files: SafetensorsFile[],
  options: OpenOptions,
): Promise<void> {
  for (const shard of index.shards) {
    if (!names.has(shard)) {
      const text = `${dir}: the index names ${quote(shard)}, which is not there. Download it.`;
      throw new CheckpointError('SHARD_MISSING', text, { path: dir, shard });
    }
    const file = await openSafetensorsFile(join(dir, shard), options);
    files.push(file);
    for (const name of file.tensors.keys()) {
      const mapped = index.weightMap.get(name);
      if (mapped === shard) continue;
      const where = mapped === undefined ? 'does not know it' : `places it in ${quote(mapped)}`;
      const text = `${dir}: ${quote(shard)} has tensor ${quote(name)}, but the index ${where}. Download the model again.`;
      throw new CheckpointError('UNINDEXED_TENSOR', text, { path: dir, shard, tensor: name });
    }
  }
  const byName = new Map(index.shards.map((shard, i) => [shard, files[i]!]));
  for (const [name, shard] of index.weightMap) {
    if (byName.get(shard)!.tensors.has(name)) continue;
    const text = `${dir}: the index places tensor ${quote(name)} in ${quote(shard)}, which lacks it. Download the model again.`;
    throw new CheckpointError('INDEX_EXTRA_TENSOR', text, { path: dir, shard, tensor: name });
  }
}

function noWeights(dir: string, names: ReadonlySet<string>): CheckpointError {
  const list = [...names].sort();
  const say = (code: CheckpointErrorCode, text: string) => new CheckpointError(code, `${dir}: ${text}`, { path: dir });
  const pickles = list.filter((name) => /^pytorch_model.*\.bin(\.index\.json)?$|\.(pth|pt|ckpt)$/.test(name));
  const tensors = list.filter((name) => name.endsWith('.safetensors'));
  if (tensors.some((name) => /^model-\d{5,6}-of-\d{5,6}\.safetensors$/.test(name))) {
    return say('INDEX_MISSING', `has shards but no ${INDEX_FILE}. Download the index too.`);
  }
  if (tensors.includes('adapter_model.safetensors') || names.has('adapter_model.bin')) {
    const text =
      'holds an adapter, not a whole model. Give it as a fine-tune beside its base, or merge it into its base (`merge_and_unload`).';
    return say('ADAPTER_ONLY', text);
  }
  if (tensors.length > 0) {
    const some = tensors.slice(0, 3).map(quote).join(', ');
    return say('NO_WEIGHTS', `has no ${SINGLE_FILE}. Give one of its files instead, e.g. ${some}.`);
  }
  if (pickles.length > 0) {
    const text = `has PyTorch pickle weights only (${quote(pickles[0]!)}). Convert them, e.g. with \`save_pretrained(..., safe_serialization=True)\`.`;
    return say('PYTORCH_WEIGHTS', text);
  }
  return say('NO_WEIGHTS', `no ${SINGLE_FILE} and no ${INDEX_FILE}. Give the directory that holds the weights.`);
}

function weightFiles(files: readonly SafetensorsFile[]) {
  return files.map(({ path, size }) => ({ name: basename(path), path, size }));
}

function dataBytes(file: SafetensorsFile): number {
  let sum = 0;
  for (const { byteLength } of file.tensors.values()) sum += byteLength;
  return sum;
}
