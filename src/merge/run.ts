/** Offline merges: a configuration in, a checkpoint directory out. */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { createEngine, type EigensolverStatus, type EngineOptions, type MatrixEngine } from '../compute/index.ts';
import { abandonedSiblings, tempSibling } from '../durable.ts';
import type { RunOptions } from '../run-options.ts';
import { type Checkpoint, CheckpointError, isFloat, openCheckpoint } from '../tensors/index.ts';
import { checkAskedDevice } from './asked-device.ts';
import type { MergeConfig } from './config.ts';
import type { MergeEngineOptions } from './engine-options.ts';
import { MergeError } from './errors.ts';
import { isLinearByDefault } from './linear.ts';
import type { MergeOutcome } from './method.ts';
import { MERGE_METHODS } from './registry.ts';
import { openTaskVector, type TaskVectorSource } from './source.ts';
import type { FoldTensor } from './task-vector.ts';

export interface RunMergeOptions extends RunOptions, MergeEngineOptions {
  /** Replaces an existing checkpoint directory. */
  readonly overwrite?: boolean;
}

export interface MergeReport extends MergeOutcome {
  readonly method: string;
  readonly models: readonly { readonly path: string; readonly kind: TaskVectorSource['kind'] }[];
  /** Tensors that were projected, by the list or by the default rule. */
  readonly linear: readonly string[];
  /** What did the matrix work, and what the eigenproblems; null when there was none. */
  readonly device: string | null;
  readonly description: string | null;
  readonly eigensolver: EigensolverStatus | null;
}

export interface RunMergeComponents {
  /** Opens the engine when the method first asks for it. */
  readonly createEngine: (options: EngineOptions) => Promise<MatrixEngine>;
}

/**
 * Merges what a configuration names into the directory `out`. Paths are taken as they stand, relative ones from the
 * working directory. Every model's names and shapes are checked before any values are read. What killed merges into
 * `out` left beside it is removed.
 *
 * @throws MergeError, ComputeError, SafetensorsError, CheckpointError, CodecError. Nothing is left behind then.
 */
export async function runMerge(
  config: MergeConfig,
  out: string,
  options: RunMergeOptions = {},
  components: RunMergeComponents = { createEngine },
): Promise<MergeReport> {
  const method = MERGE_METHODS[config.method];
  if (method === undefined) throw new MergeError('BAD_INPUT', `There is no merge method '${config.method}'.`);
  const { signal, onProgress, device, workers, eigensolver } = options;
  const run: RunOptions = { ...(signal && { signal }), ...(onProgress && { onProgress }) };
  await checkTarget(out, options.overwrite ?? false);
  const sources: TaskVectorSource[] = [];
  let engine: MatrixEngine | null = null;
  const base = await openCheckpoint(config.base, run);
  const workDirectory = tempSibling(out);
  try {
    const tensors = foldTensors(base, config.linear);
    for (const { path } of config.models) sources.push(await openTaskVector(path, base, tensors, run));
    for (const left of await abandonedSiblings(out)) await rm(left, { recursive: true, force: true });
    await mkdir(workDirectory).catch((error: unknown) => {
      const text = `${out}: the directory that should hold it is not there, or cannot be written. Create it first.`;
      throw new CheckpointError('PARENT_MISSING', text, { path: out }, { cause: error });
    });
    const outcome = await method.merge(
      {
        base,
        tensors,
        sources,
        out,
        overwrite: options.overwrite ?? false,
        dtype: config.dtype,
        metadata: {
          'kinmerge.method': method.name,
          'kinmerge.parameters': JSON.stringify(config.parameters),
          'kinmerge.models': String(config.models.length),
        },
        workDirectory,
        memory: options.memory,
        async engine() {
          engine ??= await components.createEngine({ device, workers, eigensolver });
          return engine;
        },
        checkPhases: (phases) => checkAskedDevice(device, phases),
      },
      config.parameters,
      config.models.map(({ parameters }) => parameters),
      run,
    );
    return {
      ...outcome,
      method: method.name,
      models: sources.map(({ path, kind }) => ({ path, kind })),
      linear: tensors.flatMap(({ name, linear }) => (linear ? [name] : [])),
      device: (engine as MatrixEngine | null)?.device ?? null,
      description: (engine as MatrixEngine | null)?.description ?? null,
      eigensolver: (engine as MatrixEngine | null)?.eigensolver ?? null,
    };
  } finally {
    await rm(workDirectory, { recursive: true, force: true });
    await (engine as MatrixEngine | null)?.close();
    await Promise.all(sources.map((source) => source.close()));
    await base.close();
  }
}

/** Refuses an occupied target before the work rather than after it; the writer looks again. */
async function checkTarget(out: string, overwrite: boolean): Promise<void> {
  const found = await readdir(out).catch((error: unknown) => {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? [] : [out];
  });
  if (overwrite || found.length === 0) return;
  throw new MergeError('TARGET_EXISTS', `${out} exists already. Choose another directory, or ask to overwrite it.`, {
    path: out,
  });
}

/**
 * The base's float tensors, and which of them are linear.
 *
 * @param list - names; null for the default rule
 * @throws MergeError `CONFIG_INVALID` for a listed name that is not a matrix of the base
 */
export function foldTensors(base: Checkpoint, list: readonly string[] | null): FoldTensor[] {
  for (const name of list ?? []) {
    const info = base.tensors.get(name);
    if (info !== undefined && isFloat(info.dtype) && info.shape.length === 2) continue;
    throw new MergeError('CONFIG_INVALID', `linear_tensors: '${name}' is not a float matrix of the base.`, {
      key: 'linear_tensors',
      tensor: name,
    });
  }
  const listed = list === null ? null : new Set(list);
  return [...base.tensors.values()]
    .filter(({ dtype }) => isFloat(dtype))
    .map(({ name, shape }) => ({ name, shape, linear: listed?.has(name) ?? isLinearByDefault(name, shape) }));
}
