/** Puts the tensors of an adapter together: modules, factors and whole tensors, each with its place in the base. */
import type { RunOptions } from '../../run-options.ts';
import type { Checkpoint } from '../checkpoint.ts';
import { listSome, type TensorDifference } from '../differences.ts';
import { isFloat } from '../dtype.ts';
import { quote } from '../errors.ts';
import type { TensorInfo } from '../header.ts';
import { sameValues } from '../same-values.ts';
import { TiedTensors } from '../tied.ts';
import type { AdapterBase } from './adapter.ts';
import { type LoraConfig, scalingOf } from './config.ts';
import { AdapterError } from './errors.ts';
import { factorFault, type LoraFactors, type ModuleFactors, placeFactors, rankOf } from './factors.ts';
import { type FactorPart, parseAdapterKey, weightNames } from './names.ts';
import { findName, findRenamings, type Renaming, rename, SAME_NAMES } from './renaming.ts';

export interface AssembleInput {
  readonly dir: string;
  readonly config: LoraConfig;
  readonly checkpoint: Checkpoint;
  readonly base: AdapterBase;
}

export interface Assembled {
  readonly lowRank: Map<string, LoraFactors>;
  readonly full: Map<string, string>;
  readonly renaming: Renaming;
  readonly differences: TensorDifference[];
}

type Parts = Partial<Record<FactorPart, TensorInfo>>;

/** @throws AdapterError; whatever reading throws */
export async function assemble(input: AssembleInput, options: RunOptions): Promise<Assembled> {
  const { modules, whole } = sortTensors(input);
  const wanted =
    modules.length > 0 ? modules.map(({ module }) => weightNames(module)) : [...whole.keys()].map((n) => [n]);
  const renaming = chooseRenaming(input, wanted);
  const result: Assembled = { lowRank: new Map(), full: new Map(), renaming, differences: [] };
  placeModules(input, modules, result);
  await placeWhole(input, whole, result, options);
  return result;
}

/** Sorts the adapter's tensors by what their names say, and checks what can be checked without the base. */
export function sortTensors({ dir, config, checkpoint }: Omit<AssembleInput, 'base'>): {
  modules: ModuleFactors[];
  whole: Map<string, TensorInfo>;
} {
  if (checkpoint.tensors.size === 0) {
    throw new AdapterError('ADAPTER_EMPTY', `${dir}: the adapter holds no tensor. Save it again.`, { path: dir });
  }
  const parts = new Map<string, Parts>();
  const whole = new Map<string, TensorInfo>();
  const faults: string[] = [];
  for (const info of checkpoint.tensors.values()) {
    const key = parseAdapterKey(info.name);
    if (key.kind === 'unsupported') {
      const text = `${dir}: the adapter uses ${key.feature}: ${quote(info.name)}. Merge it into its base (\`merge_and_unload\`) and give the merged model.`;
      throw new AdapterError('ADAPTER_UNSUPPORTED', text, { path: dir, tensor: info.name, feature: key.feature });
    }
    if (key.kind === 'full') {
      if (whole.has(key.name)) faults.push(`${quote(key.name)} is there twice`);
      whole.set(key.name, info);
      continue;
    }
    const found = parts.get(key.module) ?? {};
    if (found[key.part] !== undefined) faults.push(`${quote(key.module)} has ${key.part} twice`);
    if (!isFloat(info.dtype)) faults.push(`${quote(info.name)} is ${info.dtype}, not a float tensor`);
    parts.set(key.module, { ...found, [key.part]: info });
  }
  const modules: ModuleFactors[] = [];
  for (const [module, found] of parts) {
    const fault = pair(module, found, config, modules);
    if (fault !== undefined) faults.push(`${quote(module)} ${fault}`);
  }
  if (faults.length > 0) throw invalidFactors(dir, faults);
  return { modules, whole };
}

/** Adds the two factors of a module; what is wrong with them otherwise. */
function pair(module: string, found: Parts, config: LoraConfig, modules: ModuleFactors[]): string | undefined {
  const embedding = found['embedding A'] !== undefined || found['embedding B'] !== undefined;
  if (embedding && (found.A !== undefined || found.B !== undefined)) return 'has factors of two kinds';
  const [a, b] = embedding ? [found['embedding A'], found['embedding B']] : [found.A, found.B];
  if (a === undefined || b === undefined) return `has no ${a === undefined ? 'A' : 'B'}`;
  const factors = { module, embedding, a, b };
  const fault = factorFault(factors);
  if (fault !== undefined) return fault;
  const expected = config.ranks.get(module) ?? config.rank;
  if (rankOf(factors) !== expected) return `has rank ${rankOf(factors)}, its configuration says ${expected}`;
  modules.push(factors);
  return undefined;
}

/** Equal names, or the one prefix that leads all factors into the base. Equal names too where none does, to list them. */
function chooseRenaming({ dir, base }: AssembleInput, wanted: readonly (readonly string[])[]): Renaming {
  const renamings = findRenamings(wanted, base.tensors);
  if (renamings.length < 2) return renamings[0] ?? SAME_NAMES;
  const prefixes = renamings.map(({ strip, add }) => (add === '' ? `without ${quote(strip)}` : `with ${quote(add)}`));
  const text = `${dir}: the adapter's names could mean several tensors of the base: ${listSome(prefixes)}. Rename its tensors as in the base.`;
  throw new AdapterError('ADAPTER_AMBIGUOUS', text, { path: dir, prefixes });
}

function placeModules(
  { dir, config, base }: AssembleInput,
  modules: readonly ModuleFactors[],
  result: Assembled,
): void {
  const { lowRank, renaming, differences } = result;
  const faults: string[] = [];
  const squares: string[] = [];
  let contradicted = false;
  for (const module of modules) {
    const name = findName(renaming, weightNames(module.module), base.tensors);
    const info = name === undefined ? undefined : base.tensors.get(name);
    if (name === undefined || info === undefined) {
      differences.push(extra(weightNames(module.module)[0]!, module.b));
    } else if (!isFloat(info.dtype)) {
      faults.push(`${quote(name)} is ${info.dtype} in the base: use the unquantised base`);
    } else if (lowRank.has(name)) {
      faults.push(`${quote(name)} would be changed by two modules`);
    } else {
      const placement = placeFactors(module, info.shape, config.fanInFanOut);
      if (placement.kind === 'reshaped') {
        const { found } = placement;
        differences.push({ checkpoint: 'fine-tune', problem: 'reshaped', tensor: name, expected: info.shape, found });
        continue;
      }
      if (placement.side === 'square') squares.push(name);
      // Embeddings and convolutions have one orientation, whatever the configuration says.
      const flippable = !module.embedding && info.shape.length === 2;
      if (flippable && placement.side === (config.fanInFanOut ? 'outputs first' : 'inputs first')) contradicted = true;
      lowRank.set(name, { ...placement.factors, scaling: scalingOf(config, module.module, rankOf(module)) });
    }
  }
  if (faults.length > 0) throw invalidFactors(dir, faults);
  if (contradicted && squares.length > 0) throw unknownOrientation(dir, squares);
}

async function placeWhole(
  { dir, checkpoint, base }: AssembleInput,
  whole: ReadonlyMap<string, TensorInfo>,
  { full, lowRank, renaming, differences }: Assembled,
  options: RunOptions,
): Promise<void> {
  const strays: TensorInfo[] = [];
  for (const [own, info] of whole) {
    const name = rename(renaming, own, base.tensors);
    const target = base.tensors.get(name);
    // Counters and other integers are copied from the base, as everywhere.
    if (target === undefined ? !isFloat(info.dtype) : !isFloat(target.dtype)) continue;
    const { dtype, shape: found } = info;
    const about = { checkpoint: 'fine-tune', tensor: name } as const;
    if (target === undefined) strays.push(info);
    else if (!isFloat(dtype)) differences.push({ ...about, problem: 'not a float tensor', dtype });
    else if (target.shape.join() !== found.join()) {
      differences.push({ ...about, problem: 'reshaped', expected: target.shape, found });
    } else if (!lowRank.has(name)) full.set(name, info.name);
    else if (!(await sameValues({ source: base, name }, { source: checkpoint, name: info.name }, options))) {
      const text = `${dir}: the adapter changes ${quote(name)} itself and has factors for it. Merge it into its base (\`merge_and_unload\`) and give the merged model.`;
      throw new AdapterError('ADAPTER_UNSUPPORTED', text, { path: dir, tensor: name, feature: 'both' });
    }
  }
  // A replacement that is repeated under another name is one tensor of the model, which the base stores once.
  const tied = new TiedTensors(checkpoint, full.values(), options);
  const targets = new Map([...full].map(([target, own]) => [own, target]));
  for (const info of strays) {
    const [equal] = await tied.equalTo(info.name);
    const tiedTo = equal === undefined ? undefined : targets.get(equal);
    differences.push({ ...extra(info.name, info), ...(tiedTo !== undefined && { tiedTo }) });
  }
}

function extra(tensor: string, { shape }: TensorInfo): TensorDifference {
  return { checkpoint: 'fine-tune', problem: 'extra', tensor, found: shape };
}

function invalidFactors(dir: string, faults: readonly string[]): AdapterError {
  const text = `${dir}: ${listSome(faults)}. Save the adapter again with the configuration that it was trained with.`;
  return new AdapterError('ADAPTER_FACTORS_INVALID', text, { path: dir, faults });
}

function unknownOrientation(dir: string, tensors: readonly string[]): AdapterError {
  const text = `${dir}: fan_in_fan_out holds for some weights only, and the square ones do not show for which: ${listSome(tensors.map(quote))}. Merge the adapter into its base (\`merge_and_unload\`) and give the merged model.`;
  return new AdapterError('ADAPTER_ORIENTATION_UNKNOWN', text, { path: dir, tensors });
}
