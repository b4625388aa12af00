import { CheckpointError } from '../../tensors/errors.ts';
import type { FileCache } from '../file-cache.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { type CodedSection, codeMasks } from '../section-choice.ts';
import { cutBucket, keepCount, locate, sampleDeviation, type Threshold } from '../select.ts';
import { countEqual, type Measured, measure, type Refined, refine, ternarise } from './passes.ts';
import { selectBySplit } from './split.ts';
import { TensorInput, type TensorPair } from './tensor-input.ts';

/** What a thread is asked to do with one tensor. */
export type EncodeJob =
  | { readonly kind: 'measure'; readonly pair: TensorPair; readonly sums: boolean }
  | { readonly kind: 'refine'; readonly pair: TensorPair; readonly bucket: number; readonly mean: number | null }
  | { readonly kind: 'ties'; readonly pair: TensorPair; readonly threshold: number }
  | { readonly kind: 'code'; readonly pair: TensorPair; readonly shape: readonly number[]; readonly cut: Threshold }
  | {
      readonly kind: 'whole';
      readonly pair: TensorPair;
      readonly shape: readonly number[];
      readonly density: number;
      /** Whether the deviation of the unpruned tensor is wanted. */
      readonly deviation: boolean;
    };

/** A coded tensor; null when no entry is kept. */
export interface Coded {
  readonly nnz: number;
  readonly section: CodedSection | null;
}

/** A tensor that was selected by itself. */
export interface Whole extends Coded {
  readonly bad: number;
  /** Sum of the kept magnitudes, float64. */
  readonly magnitudes: number;
  /** Of the unpruned tensor; null when it was not asked for. */
  readonly sigma: number | null;
}

interface Results {
  readonly measure: Measured;
  readonly refine: Refined;
  readonly ties: number;
  readonly code: Coded;
  readonly whole: Whole;
}

export type EncodeResult<Kind extends EncodeJob['kind'] = EncodeJob['kind']> = Results[Kind];

/** Does one job, blocking its thread. @throws CheckpointError FILE_CHANGED, IO_FAILED */
export function runEncodeJob(components: { kernel: Kernel; files: FileCache }, job: EncodeJob): EncodeResult {
  const input = new TensorInput(components, job.pair);
  const { kernel } = components;
  switch (job.kind) {
    case 'measure':
      return measure(kernel, input, job.sums);
    case 'refine':
      return refine(kernel, input, job.bucket, job.mean);
    case 'ties':
      return countEqual(kernel, input, job.threshold);
    case 'code':
      return code(kernel, input, job.pair, job.shape, job.cut, null);
    case 'whole':
      return whole(kernel, input, job);
  }
}

function whole(kernel: Kernel, input: TensorInput, job: Extract<EncodeJob, { kind: 'whole' }>): Whole {
  const { elements } = job.pair;
  if (!job.deviation) {
    const selected = selectBySplit(kernel, input, elements, job.density);
    if (selected !== null) {
      const { bad, masks, magnitudes } = selected;
      const section = masks.nnz === 0 ? null : codeMasks(kernel, masks, job.shape);
      return { bad, nnz: masks.nnz, section, magnitudes, sigma: null };
    }
  }
  const { bad, upper, sum } = measure(kernel, input, job.deviation);
  if (bad >= 0) return { bad, nnz: 0, section: null, magnitudes: 0, sigma: null };
  const keep = keepCount(job.density, elements);
  const place = locate(upper, keep);
  const mean = elements === 0 ? 0 : sum / elements;
  const refined = refine(kernel, input, place.bucket, job.deviation ? mean : null);
  const cut = cutBucket(refined.lower, place, keep);
  return {
    bad,
    ...code(kernel, input, job.pair, job.shape, cut, cut.kept),
    magnitudes: refined.magnitudes + cut.magnitudes,
    sigma: job.deviation ? sampleDeviation(refined.squares, elements) : null,
  };
}

/** @param expected - entries that earlier passes counted, where they were of this tensor alone */
function code(
  kernel: Kernel,
  input: TensorInput,
  { elements, tune }: TensorPair,
  shape: readonly number[],
  cut: Threshold,
  expected: number | null,
): Coded {
  const masks = ternarise(kernel, input, elements, cut);
  if (expected !== null && masks.nnz !== expected) {
    const text = `${tune.path}: changed while it was read. Encode again when it is complete.`;
    throw new CheckpointError('FILE_CHANGED', text, { path: tune.path });
  }
  return { nnz: masks.nnz, section: masks.nnz === 0 ? null : codeMasks(kernel, masks, shape) };
}
