import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Charter, CharterFile, CharterTensor } from '../src/log/index.ts';
import { defaultLinear } from '../src/merge/index.ts';
import type { RunOptions } from '../src/run-options.ts';
import { describeTensor, isFloat, openCheckpoint } from '../src/tensors/index.ts';
import { NodeError } from './errors.ts';

/** Differences that one error names; the rest are counted. */
export const MAX_NAMED_DIFFERENCES = 20;

/** A base checkpoint as a charter names it. */
export interface BaseDescription {
  readonly tensors: readonly CharterTensor[];
  readonly sideFiles: readonly CharterFile[];
  /** Per float tensor in charter order. */
  readonly floats: readonly { readonly elements: number; readonly sumSquares: number }[];
  /** Σ of the tensors' sums of squares in charter order, float64. */
  readonly sumSquares: number;
}

/**
 * Reads a whole base once: content hashes, norms, and which tensors are linear.
 *
 * @param linear - names of the linear tensors; the rule of docs/algorithms.md A when left out
 * @throws NodeError `USAGE` when `linear` names a tensor that is not there; SafetensorsError or CheckpointError
 */
export async function describeBase(
  path: string,
  linear: readonly string[] | undefined,
  options: RunOptions = {},
): Promise<BaseDescription> {
  const base = await openCheckpoint(path, options);
  try {
    const unknown = (linear ?? []).filter((name) => !base.tensors.has(name));
    if (unknown.length > 0) {
      throw new NodeError(
        'USAGE',
        `the base has no tensor named ${unknown.join(', ')}: correct the list of linear tensors`,
        {
          unknown,
        },
      );
    }
    const isLinear = new Set(linear ?? defaultLinear([...base.tensors.values()]));
    const tensors: CharterTensor[] = [];
    const floats: { elements: number; sumSquares: number }[] = [];
    let sumSquares = 0;
    const total = [...base.tensors.values()].reduce((sum, tensor) => sum + tensor.byteLength, 0);
    let done = 0;
    for (const { name, dtype, shape, elements, byteLength } of base.tensors.values()) {
      const described = await describeTensor(base, name, options);
      tensors.push({ name, dtype, shape, linear: isLinear.has(name), sha256: described.sha256 });
      if (isFloat(dtype)) {
        floats.push({ elements, sumSquares: described.sumSquares });
        sumSquares += described.sumSquares;
      }
      done += byteLength;
      options.onProgress?.({ phase: 'reading base', done, total, unit: 'bytes' });
    }
    const sideFiles: CharterFile[] = [];
    for (const file of base.sideFiles) {
      const content = await readFile(file.path);
      const sha256 = new Uint8Array(createHash('sha256').update(content).digest());
      sideFiles.push({ name: file.name, size: content.length, sha256 });
    }
    return { tensors, sideFiles, floats, sumSquares };
  } finally {
    await base.close();
  }
}

/**
 * Holds a base against a charter: names, shapes, dtypes and content of every tensor and side file.
 *
 * @throws NodeError `BASE_MISMATCH` listing what differs
 */
export async function checkBase(charter: Charter, path: string, options: RunOptions = {}): Promise<void> {
  const { tensors, sideFiles, sumSquares } = await describeBase(path, [], options);
  const differences = [
    ...compare('tensor', charter.base.tensors, tensors, (tensor) => `${tensor.dtype} [${tensor.shape.join(', ')}]`),
    ...compare('file', charter.base.sideFiles, sideFiles, (file) => `${file.size} bytes`),
  ];
  if (differences.length === 0 && sumSquares !== charter.base.sumSquares) {
    differences.push(`the charter states a sum of squares of ${charter.base.sumSquares}, the base has ${sumSquares}`);
  }
  if (differences.length === 0) return;
  const named = differences.slice(0, MAX_NAMED_DIFFERENCES);
  const more = differences.length - named.length;
  throw new NodeError(
    'BASE_MISMATCH',
    `${path} is not the base of this community: ${named.join('; ')}${more > 0 ? `; and ${more} more` : ''}. ` +
      'Get the exact checkpoint (same revision) that the community was created from.',
    { path, differences: named, more },
  );
}

function compare<T extends { readonly name: string; readonly sha256: Uint8Array }>(
  what: string,
  expected: readonly T[],
  found: readonly T[],
  form: (item: T) => string,
): string[] {
  const differences: string[] = [];
  const byName = new Map(found.map((item) => [item.name, item]));
  for (const item of expected) {
    const other = byName.get(item.name);
    byName.delete(item.name);
    if (other === undefined) differences.push(`${what} ${item.name} is missing`);
    else if (form(item) !== form(other)) {
      differences.push(`${what} ${item.name} is ${form(other)} instead of ${form(item)}`);
    } else if (Buffer.compare(item.sha256, other.sha256) !== 0) {
      differences.push(`${what} ${item.name} has other content`);
    }
  }
  // A tensor too many makes another model; another file beside the weights does not.
  if (what === 'tensor') for (const name of byName.keys()) differences.push(`tensor ${name} is not in the charter`);
  return differences;
}
