/** Opens whatever a contributor has: a whole fine-tuned model, or a LoRA adapter of the base. */
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { Checkpoint } from '../checkpoint.ts';
import { CheckpointError, quote } from '../errors.ts';
import { explainHubFailure, locateCheckpoint } from '../hub-cache.ts';
import { isHubName } from '../hub-name.ts';
import { INDEX_FILE, openCheckpoint, SINGLE_FILE } from '../open.ts';
import {
  ADAPTER_CONFIG_FILE,
  ADAPTER_FILE,
  ADAPTER_PICKLE_FILE,
  type AdapterBase,
  type LoraAdapter,
  type OpenAdapterOptions,
  openLoraAdapter,
} from './adapter.ts';
import { AdapterError } from './errors.ts';
import { parseAdapterKey } from './names.ts';

export type Finetune =
  | { readonly kind: 'checkpoint'; readonly checkpoint: Checkpoint; close(): Promise<void> }
  | { readonly kind: 'adapter'; readonly adapter: LoraAdapter; close(): Promise<void> };

/**
 * Opens a fine-tune by its path or its name in the Hugging Face cache. A directory with an adapter's files and no
 * model's, or the adapter's weight file in one, is a LoRA adapter; everything else is a checkpoint, whose names and
 * shapes are compared with the base later (`alignTensors`).
 *
 * @param base - stays open and must not be closed before the fine-tune is
 * @throws AdapterError, SafetensorsError, CheckpointError
 */
export async function openFinetune(
  path: string,
  base: AdapterBase,
  options: OpenAdapterOptions = {},
): Promise<Finetune> {
  options.signal?.throwIfAborted();
  const dir = await adapterDirectory(path);
  if (dir !== undefined) {
    const adapter = await openLoraAdapter(dir, base, options).catch(async (error: unknown) => {
      throw isHubName(path) ? await explainHubFailure(path, dir, error) : error;
    });
    return { kind: 'adapter', adapter, close: () => adapter.close() };
  }
  const checkpoint = await openCheckpoint(path, options);
  const factor = [...checkpoint.tensors.keys()].find((name) => parseAdapterKey(name).kind === 'factor');
  if (factor === undefined) return { kind: 'checkpoint', checkpoint, close: () => checkpoint.close() };
  await checkpoint.close();
  const text = `${path}: holds LoRA factors (${quote(factor)}) without their configuration. Give the adapter's directory, with ${ADAPTER_CONFIG_FILE}.`;
  throw new AdapterError('ADAPTER_CONFIG_MISSING', text, { path, tensor: factor });
}

/**
 * The directory of an adapter; undefined where the path is none, or where opening it says what is wrong.
 *
 * @throws CheckpointError AMBIGUOUS_WEIGHTS, PYTORCH_WEIGHTS, NO_WEIGHTS
 */
export async function adapterDirectory(path: string): Promise<string | undefined> {
  const place = await locateCheckpoint(path);
  const info = await stat(place).catch(() => undefined);
  if (info === undefined) return undefined;
  const dir = info.isDirectory() ? place : basename(place) === ADAPTER_FILE ? dirname(place) : undefined;
  const names = new Set(dir === undefined ? [] : await readdir(dir).catch(() => []));
  if (dir === undefined || !(names.has(ADAPTER_CONFIG_FILE) || names.has(ADAPTER_FILE))) return undefined;
  // A lone file in a directory without the configuration is opened as it is, and says then what it lacks.
  if (!info.isDirectory()) return names.has(ADAPTER_CONFIG_FILE) ? dir : undefined;
  const model = [SINGLE_FILE, INDEX_FILE].find((name) => names.has(name));
  if (model !== undefined && names.has(ADAPTER_FILE)) {
    const text = `${path}: has both a model (${model}) and an adapter (${ADAPTER_FILE}). Give one of the two files.`;
    throw new CheckpointError('AMBIGUOUS_WEIGHTS', text, { path });
  }
  if (model !== undefined) return undefined;
  if (names.has(ADAPTER_FILE)) return dir;
  if (names.has(ADAPTER_PICKLE_FILE)) {
    const text = `${path}: has a PyTorch pickle only (${ADAPTER_PICKLE_FILE}). Save the adapter again with a current PEFT, which writes ${ADAPTER_FILE}.`;
    throw new CheckpointError('PYTORCH_WEIGHTS', text, { path });
  }
  throw await missingWeights(path, dir);
}

async function missingWeights(path: string, dir: string): Promise<unknown> {
  const text = `${path}: has ${ADAPTER_CONFIG_FILE} but no ${ADAPTER_FILE}. Download it too.`;
  const error = new CheckpointError('NO_WEIGHTS', text, { path });
  return isHubName(path) ? explainHubFailure(path, dir, error) : error;
}
