/** A PEFT LoRA adapter beside its base: which of the base's tensors it changes, and by what. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Checkpoint } from '../checkpoint.ts';
import { type AlignPolicy, describeDifferences, isAccepted, type TensorDifference } from '../differences.ts';
import { asCheckpointError } from '../errors.ts';
import { type OpenOptions, openCheckpoint } from '../open.ts';
import { assemble } from './assemble.ts';
import { type LoraConfig, readLoraConfig } from './config.ts';
import { AdapterError } from './errors.ts';
import type { LoraFactors } from './factors.ts';
import type { Renaming } from './renaming.ts';

export const ADAPTER_CONFIG_FILE = 'adapter_config.json';
export const ADAPTER_FILE = 'adapter_model.safetensors';
/** What earlier versions of PEFT write: a pickle. */
export const ADAPTER_PICKLE_FILE = 'adapter_model.bin';

/** What an adapter needs to know of its base. */
export type AdapterBase = Pick<Checkpoint, 'tensors' | 'chunks'>;

export interface OpenAdapterOptions extends OpenOptions {
  /** What to do with tensors that the base does not know or has in another shape; `missing` never applies. */
  readonly policy?: AlignPolicy;
}

/** An open adapter. Tensors of the base in neither map are unchanged. */
export interface LoraAdapter {
  /** The directory. */
  readonly path: string;
  readonly config: LoraConfig;
  /** By name of the base's tensor: updates that are products of two factors. */
  readonly lowRank: ReadonlyMap<string, LoraFactors>;
  /** By name of the base's tensor: the adapter's tensor that replaces it. */
  readonly full: ReadonlyMap<string, string>;
  /** The adapter's own file, with the names that it has there. */
  readonly checkpoint: Checkpoint;
  /** How names of the adapter became names of the base. */
  readonly renaming: Renaming;
  /** What differs from the base and was let pass. */
  readonly notes: readonly TensorDifference[];
  /** Closes the adapter's file; the base stays open. Idempotent. */
  close(): Promise<void>;
}

/**
 * Opens a directory of PEFT with `adapter_config.json` and `adapter_model.safetensors`. Only headers are read, and the
 * few whole tensors that the adapter has beside factors of the same weight.
 *
 * @throws AdapterError (all its codes), SafetensorsError, CheckpointError
 */
export async function openLoraAdapter(
  dir: string,
  base: AdapterBase,
  options: OpenAdapterOptions = {},
): Promise<LoraAdapter> {
  const config = await readAdapterConfig(dir, options);
  const checkpoint = await openCheckpoint(join(dir, ADAPTER_FILE), options);
  try {
    const { lowRank, full, renaming, differences } = await assemble({ dir, config, checkpoint, base }, options);
    const { policy = {} } = options;
    const errors = differences.filter((found) => found.tiedTo === undefined && !isAccepted(found, policy));
    if (errors.length > 0) throw mismatch(dir, config, errors);
    const notes = differences.filter((found) => !errors.includes(found));
    return { path: dir, config, lowRank, full, checkpoint, renaming, notes, close: () => checkpoint.close() };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

/** The configuration beside an adapter's weights. @throws AdapterError, CheckpointError */
export async function readAdapterConfig(dir: string, options: OpenOptions = {}): Promise<LoraConfig> {
  const path = join(dir, ADAPTER_CONFIG_FILE);
  const there = await stat(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw asCheckpointError(error, path);
  });
  if (there !== undefined) return readLoraConfig(path, options);
  const text = `${dir}: has ${ADAPTER_FILE} but no ${ADAPTER_CONFIG_FILE}, which says how the factors are scaled. Put it beside them.`;
  throw new AdapterError('ADAPTER_CONFIG_MISSING', text, { path: dir });
}

function mismatch(dir: string, { baseName }: LoraConfig, differences: readonly TensorDifference[]): AdapterError {
  const made = baseName === undefined ? '' : ` It was made for ${JSON.stringify(baseName.slice(0, 100))}.`;
  const text = `${dir}: the adapter does not fit this base. ${describeDifferences(differences)}${made}`;
  return new AdapterError('ADAPTER_MISMATCH', text, { path: dir, differences, baseName });
}
