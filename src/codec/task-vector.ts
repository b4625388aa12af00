import type { RunOptions } from '../run-options.ts';
import { CodecError } from './errors.ts';
import { SLICE_ELEMENTS } from './limits.ts';
import { Pacer } from './pacer.ts';
import { type FloatSource, isFloatDtype } from './table.ts';
import type { TableTensor, TensorTable } from './types.ts';

/** One difference between a checkpoint and the table. */
export interface TensorDifference {
  readonly checkpoint: 'base' | 'fine-tune';
  readonly problem: 'missing' | 'extra' | 'reshaped' | 'not a float tensor';
  readonly tensor: string;
  readonly expected?: readonly number[];
  readonly found?: readonly number[];
}

/** Differences named in the message; `fields.differences` has all of them. */
const SHOWN_DIFFERENCES = 12;

/**
 * Compares names and shapes of base and fine-tune with the table before any tensor is read. Tensors that are not
 * floats are copied from the base and may differ (docs/algorithms.md A).
 * @throws CodecError TENSOR_MISMATCH listing every difference
 */
export function checkSameTensors(base: FloatSource, finetune: FloatSource, table: TensorTable): void {
  const differences = [...compare('base', base, table), ...compare('fine-tune', finetune, table)];
  if (differences.length === 0) return;
  const lines = differences.slice(0, SHOWN_DIFFERENCES).map((d) => {
    const shapes = d.problem === 'reshaped' ? ` (expected [${d.expected}], found [${d.found}])` : '';
    return `${d.checkpoint}: ${JSON.stringify(d.tensor)} is ${d.problem}${shapes}`;
  });
  const more = differences.length > SHOWN_DIFFERENCES ? `; and ${differences.length - SHOWN_DIFFERENCES} more` : '';
  throw new CodecError(
    'TENSOR_MISMATCH',
    `Base and fine-tune must have the same float tensors. ${lines.join('; ')}${more}.`,
    { differences },
  );
}

function compare(
  checkpoint: TensorDifference['checkpoint'],
  source: FloatSource,
  table: TensorTable,
): TensorDifference[] {
  const differences: TensorDifference[] = [];
  const known = new Set<string>();
  for (const { name, shape } of table) {
    known.add(name);
    const found = source.tensors.get(name);
    if (!found) differences.push({ checkpoint, problem: 'missing', tensor: name, expected: shape });
    else if (!isFloatDtype(found.dtype)) differences.push({ checkpoint, problem: 'not a float tensor', tensor: name });
    else if (found.shape.length !== shape.length || found.shape.some((n, i) => n !== shape[i])) {
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

/** Reads the task vector tensor by tensor, as often as the passes need it. Holds two tensors at a time. */
export class TaskVectorReader {
  readonly #base: FloatSource;
  readonly #finetune: FloatSource;
  readonly #options: RunOptions;
  readonly #pacer: Pacer;

  constructor(base: FloatSource, finetune: FloatSource, options: RunOptions) {
    this.#base = base;
    this.#finetune = finetune;
    this.#options = options;
    this.#pacer = new Pacer(SLICE_ELEMENTS, options.signal);
  }

  /** fround(fround(fine-tune) - fround(base)), a fresh array. */
  async read({ name, elements }: TableTensor): Promise<Float32Array> {
    const { signal } = this.#options;
    signal?.throwIfAborted();
    const readOptions = signal ? { signal } : {};
    const base = await this.#base.readFloat32(name, readOptions);
    const values = await this.#finetune.readFloat32(name, readOptions);
    if (base.length !== elements || values.length !== elements) {
      throw new CodecError('TENSOR_MISMATCH', `Tensor ${JSON.stringify(name)} changed its size while it was read.`, {
        tensor: name,
      });
    }
    // The subtraction is exact in float64 or rounded; the store rounds to float32: equal to one float32 subtraction.
    await this.slices(elements, (start, end) => {
      for (let i = start; i < end; i++) values[i] = values[i]! - base[i]!;
    });
    return values;
  }

  /** Runs `work` over [0, length) in slices between which the event loop gets a turn. */
  async slices(length: number, work: (start: number, end: number) => void): Promise<void> {
    for (let start = 0; start < length; start += SLICE_ELEMENTS) {
      const end = Math.min(length, start + SLICE_ELEMENTS);
      work(start, end);
      await this.#pacer.add(end - start);
    }
  }
}

/** @throws CodecError NOT_FINITE */
export function notFinite(name: string, position: number): never {
  throw new CodecError(
    'NOT_FINITE',
    `The task vector has a NaN or an infinity in tensor ${JSON.stringify(name)} at entry ${position}. Repair the fine-tune first.`,
    { tensor: name, position },
  );
}
