/** What a LoRA adapter is: alone, or beside the base that it is for. */
import type { RunOptions } from '../../../../src/run-options.ts';
import { describeAdapter, openCheckpoint, openLoraAdapter } from '../../../../src/tensors/index.ts';
import { closingAfter } from './files.ts';

interface AdapterPlace {
  /** As the user named it. */
  readonly path: string;
  readonly dir: string;
  /** Checks the adapter against this base. */
  readonly base?: string | undefined;
}

/** @throws AdapterError, SafetensorsError, CheckpointError */
export async function describeAdapterAt({ path, dir, base }: AdapterPlace, run: RunOptions) {
  const { config, modules, full, bytes } = await describeAdapter(dir, run);
  const parameters = modules.reduce((sum, module) => sum + module.parameters, 0);
  return {
    kind: 'LoRA adapter',
    path,
    bytes,
    /** The name that the configuration gives its base. */
    base: config.baseName ?? null,
    rank: config.rank,
    alpha: config.alpha,
    rankStabilised: config.rankStabilised,
    fanInFanOut: config.fanInFanOut,
    modules: modules.length,
    parameters,
    wholeTensors: full.map(({ name }) => name),
    ...(await fitOf(dir, base, run)),
    tensors: modules,
  };
}

/** The tensors of the base that the adapter changes; none is looked for without a base. */
function fitOf(dir: string, path: string | undefined, run: RunOptions): Promise<object> {
  if (path === undefined) return Promise.resolve({ checked: false, note: 'give --base to check it against its base' });
  return closingAfter(async (keep) => {
    const base = keep(await openCheckpoint(path, run));
    const { lowRank, full } = keep(await openLoraAdapter(dir, base, run));
    return { checked: true, changes: [...lowRank.keys(), ...full.keys()].sort() };
  });
}
