/** What an adapter says of itself: no base is needed for it. */
import { join } from 'node:path';
import { type OpenOptions, openCheckpoint } from '../open.ts';
import { ADAPTER_FILE, readAdapterConfig } from './adapter.ts';
import { sortTensors } from './assemble.ts';
import { type LoraConfig, scalingOf } from './config.ts';
import { rankOf } from './factors.ts';

/** A module whose update is scaling · B · A. */
export interface AdapterModule {
  /** Without PEFT's prefix; which tensor of a base it belongs to, only the base tells. */
  readonly name: string;
  /** Of the product, outputs first: as in a `Linear`, or a convolution. */
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly rank: number;
  /** alpha / rank, or alpha / sqrt(rank). */
  readonly scaling: number;
  /** Elements of both factors. */
  readonly parameters: number;
}

export interface AdapterDescription {
  readonly config: LoraConfig;
  /** In the order of the file. */
  readonly modules: readonly AdapterModule[];
  /** Tensors of the model that the adapter replaces, or has a copy of. */
  readonly full: readonly { readonly name: string; readonly shape: readonly number[]; readonly dtype: string }[];
  /** Size of the weight file. */
  readonly bytes: number;
}

/**
 * Reads the configuration of an adapter and the header of its weights, and checks both against each other.
 *
 * @throws AdapterError ADAPTER_CONFIG_*, ADAPTER_UNSUPPORTED, ADAPTER_EMPTY, ADAPTER_FACTORS_INVALID; SafetensorsError;
 *   CheckpointError
 */
export async function describeAdapter(dir: string, options: OpenOptions = {}): Promise<AdapterDescription> {
  const config = await readAdapterConfig(dir, options);
  const checkpoint = await openCheckpoint(join(dir, ADAPTER_FILE), options);
  try {
    const { modules, whole } = sortTensors({ dir, config, checkpoint });
    return {
      config,
      modules: modules.map((module) => {
        const { module: name, a, b } = module;
        const rank = rankOf(module);
        const parameters = a.elements + b.elements;
        const shape = [b.shape[0]!, ...a.shape.slice(1)];
        return { name, shape, dtype: b.dtype, rank, scaling: scalingOf(config, name, rank), parameters };
      }),
      full: [...whole].map(([name, { shape, dtype }]) => ({ name, shape, dtype })),
      bytes: checkpoint.weightFiles.reduce((sum, { size }) => sum + size, 0),
    };
  } finally {
    await checkpoint.close();
  }
}
