/** The first part of a projection: the Gram matrix and its eigenproblem, float64 on the CPU on every backend. */
import { directionsOf, type Spectrum, spectrumOf } from '../merge/opcm.ts';
import type { Buffers } from './buffers.ts';
import type { CpuDevice } from './cpu-device.ts';
import type { Eigensolver } from './eigen/index.ts';
import type { ProjectionJob } from './engine.ts';
import { ComputeError } from './errors.ts';
import type { Meter } from './meter.ts';
import type { Pace } from './pace.ts';
import { panels } from './wide.ts';

/** What the products need to know of a sum S of short side k. */
export interface Decomposition {
  readonly spectrum: Spectrum;
  /** Eigenvalues of S S^T, descending; k of them. */
  readonly values: Float64Array;
  /** directions x k, row-major: the eigenvectors that the rule needs (`directionsOf`). */
  readonly vectors: Float64Array;
}

export interface DecomposeComponents {
  readonly device: CpuDevice;
  readonly buffers: Buffers;
  readonly eigensolver: Eigensolver;
  readonly pace: Pace;
  readonly meter: Meter;
}

/**
 * Rows of a panel of the Gram matrix. A panel is multiplied with the rows from its own first one on, so with k rows the
 * part below the diagonal that is computed in vain is 1 / panels of the lower half.
 */
const GRAM_PANEL = 256;

/**
 * @param sum - k x long, row-major, k <= long: S with its shorter side first
 * @throws ComputeError `NON_FINITE`, `BAD_JOB`, `RUNTIME_FAILED`
 */
export async function decompose(
  sum: Float64Array,
  k: number,
  { rule, splitRank }: Pick<ProjectionJob, 'rule' | 'splitRank'>,
  components: DecomposeComponents,
): Promise<Decomposition> {
  const { eigensolver, pace, meter } = components;
  const long = sum.length / k;
  const gram = await gramOf(sum, k, components);
  let spectrum: Spectrum | undefined;
  const found = await meter.time('eigen', 'cpu', () =>
    pace.interruptible(() =>
      eigensolver.solve(gram, k, {
        vectors: (values) => {
          spectrum = withSplit(spectrumOf(values, long, rule.alpha), splitRank);
          return directionsOf(spectrum, rule.variant);
        },
      }),
    ),
  );
  components.buffers.give(gram);
  await pace.pause();
  return { spectrum: spectrum!, ...found };
}

/** The spectrum with a split rank that was asked for. @throws ComputeError `BAD_JOB` */
function withSplit(spectrum: Spectrum, asked: number | undefined): Spectrum {
  const { splitRank, splitNeighbour } = spectrum;
  if (asked === undefined || asked === splitRank) return spectrum;
  if (asked === splitNeighbour) return { ...spectrum, splitRank: asked, splitNeighbour: splitRank };
  const message = `The split rank is ${splitRank}, and ${asked} is none that rounding could give.`;
  throw new ComputeError('BAD_JOB', message, { asked, splitRank, splitNeighbour });
}

/** S S^T: the diagonal and what lies above it. */
async function gramOf(
  sum: Float64Array,
  k: number,
  { device, buffers, pace, meter }: DecomposeComponents,
): Promise<Float64Array<ArrayBuffer>> {
  const long = sum.length / k;
  const gram = buffers.float64(k * k);
  const size = Math.max(1, Math.min(GRAM_PANEL, Math.floor(device.sliceProducts / (k * long))));
  for (const [start, end] of panels(k, size)) {
    const rows = end - start;
    const columns = k - start;
    const a = await device.upload(sum.subarray(start * long, end * long), rows, long);
    const b = await device.upload(sum.subarray(start * long), columns, long);
    const work = () => device.run('timesTransposed', { A: a, B: b }, rows, columns);
    const product = await meter.time('gram', 'cpu', work, rows * columns * long);
    const { data } = product;
    for (let i = 0; i < rows; i++) {
      const from = i * columns;
      gram.set(data.subarray(from + i, from + columns), (start + i) * k + start + i);
    }
    device.release(product);
    await pace.pause();
  }
  return gram;
}
