/** Which tensor of a fine-tune belongs to which position of the table, settled before anything large is read. */
import type { RunOptions } from '../run-options.ts';
import { type AlignPolicy, describeDifferences, isAccepted, type TensorDifference } from '../tensors/differences.ts';
import { quote } from '../tensors/errors.ts';
import type { TensorBytes } from '../tensors/same-values.ts';
import { TiedTensors } from '../tensors/tied.ts';
import { CodecError } from './errors.ts';
import { quantisationOf } from './quantised.ts';
import { type FloatSource, isFloatDtype } from './table.ts';
import type { TableTensor, TensorTable } from './types.ts';

export type { AlignPolicy, TensorDifference } from '../tensors/differences.ts';

/** What aligning needs of a checkpoint. Tied weights are only looked for in one whose bytes can be read. */
export type AlignSource = Pick<FloatSource, 'tensors'> & Partial<Pick<TensorBytes, 'chunks'>>;

export interface Alignment {
  /** For each position of the table the fine-tune's tensor, or null where it is unchanged: all zero in the update. */
  readonly names: readonly (string | null)[];
  /** What differs and was accepted: tied weights, and what the policy lets pass. */
  readonly notes: readonly TensorDifference[];
}

/**
 * Compares names, dtypes and shapes of base and fine-tune with the table. Tensors that are not floats are copied from
 * the base and may differ (docs/algorithms.md A). Of tied weights the base's key set decides: a tensor that the
 * fine-tune lacks is read from one that is byte for byte equal in the base, and an extra one that is byte for byte
 * equal to another of the fine-tune's own tensors is left out. Only tensors of equal shape and dtype are read for it.
 * The policy speaks of the fine-tune; the base must always fit the table.
 *
 * @throws CodecError TENSOR_MISMATCH listing every difference, or naming the scheme of a quantised checkpoint
 *   (`fields.scheme`); whatever reading throws
 */
export async function alignTensors(
  base: AlignSource,
  finetune: AlignSource,
  table: TensorTable,
  policy: AlignPolicy = {},
  options: RunOptions = {},
): Promise<Alignment> {
  refuseQuantised('base', base);
  refuseQuantised('fine-tune', finetune);
  const errors = [...compare('base', base, table)];
  const found = compare('fine-tune', finetune, table);
  const partners = await tiedPartners(base, finetune, table, found, options);

  const notes: TensorDifference[] = [];
  const replaced = new Map<string, string | null>();
  for (const difference of found) {
    const { problem, tensor } = difference;
    const tiedTo = partners.get(tensor);
    if (tiedTo === undefined && !isAccepted(difference, policy)) {
      errors.push(difference);
      continue;
    }
    notes.push(tiedTo === undefined ? difference : { ...difference, tiedTo });
    if (problem !== 'extra') replaced.set(tensor, tiedTo ?? null);
  }
  if (errors.length > 0) {
    const text = `Base and fine-tune must have the same float tensors. ${describeDifferences(errors)}`;
    throw new CodecError('TENSOR_MISMATCH', text, { differences: errors });
  }
  const names = table.map(({ name }) => {
    const other = replaced.get(name);
    return other === undefined ? name : other;
  });
  return { names, notes };
}

function refuseQuantised(checkpoint: TensorDifference['checkpoint'], { tensors }: AlignSource): void {
  const quantised = quantisationOf(tensors);
  if (quantised === undefined) return;
  const { scheme, tensor } = quantised;
  const text = `The ${checkpoint} is quantised (${scheme}; it has ${quote(tensor)}): its weights are codes, not values. Use the unquantised weights that it was made from.`;
  throw new CodecError('TENSOR_MISMATCH', text, { checkpoint, scheme, tensor });
}

function compare(
  checkpoint: TensorDifference['checkpoint'],
  source: AlignSource,
  table: TensorTable,
): TensorDifference[] {
  const differences: TensorDifference[] = [];
  const known = new Set<string>();
  for (const { name, shape } of table) {
    known.add(name);
    const found = source.tensors.get(name);
    if (!found) differences.push({ checkpoint, problem: 'missing', tensor: name, expected: shape });
    else if (!isFloatDtype(found.dtype)) {
      differences.push({ checkpoint, problem: 'not a float tensor', tensor: name, dtype: found.dtype });
    } else if (!sameShape(found.shape, shape)) {
      differences.push({ checkpoint, problem: 'reshaped', tensor: name, expected: shape, found: found.shape });
    }
  }
  for (const { name, dtype, shape } of source.tensors.values()) {
    if (!known.has(name) && isFloatDtype(dtype)) {
      differences.push({ checkpoint, problem: 'extra', tensor: name, found: shape });
    }
  }
  return differences;
}

/** For missing and extra tensors of the fine-tune: the tensor of the fine-tune that is the same one in the model. */
async function tiedPartners(
  base: AlignSource,
  finetune: AlignSource,
  table: TensorTable,
  found: readonly TensorDifference[],
  options: RunOptions,
): Promise<ReadonlyMap<string, string>> {
  const partners = new Map<string, string>();
  const missing = found.filter(({ problem }) => problem === 'missing');
  const extra = found.filter(({ problem }) => problem === 'extra');
  if (missing.length + extra.length === 0 || !readable(finetune)) return partners;
  const shared = table.filter((tensor) => fits(base, tensor) && fits(finetune, tensor)).map(({ name }) => name);

  const own = new TiedTensors(finetune, shared, options);
  for (const { tensor } of extra) {
    const [partner] = await own.equalTo(tensor);
    if (partner !== undefined) partners.set(tensor, partner);
  }
  if (!readable(base)) return partners;
  const inBase = new TiedTensors(base, shared, options);
  const speakers = new Map<readonly string[], string | undefined>();
  for (const { tensor } of missing) {
    const equal = await inBase.equalTo(tensor);
    if (!speakers.has(equal)) speakers.set(equal, await speakerOf(equal, own));
    const partner = speakers.get(equal);
    if (partner !== undefined) partners.set(tensor, partner);
  }
  return partners;
}

/** Which of some tensors speaks for one that is not there: any, unless training made them differ. */
async function speakerOf(equal: readonly string[], own: TiedTensors): Promise<string | undefined> {
  const [first] = equal;
  if (first === undefined || equal.length === 1) return first;
  const still = new Set(await own.equalTo(first));
  return equal.every((name) => still.has(name)) ? first : undefined;
}

function readable(source: AlignSource): source is AlignSource & TensorBytes {
  return source.chunks !== undefined;
}

function fits(source: AlignSource, { name, shape }: TableTensor): boolean {
  const found = source.tensors.get(name);
  return found !== undefined && isFloatDtype(found.dtype) && sameShape(found.shape, shape);
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i]);
}
