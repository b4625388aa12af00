/** The first part of a projection: the Gram matrix and its eigenproblem, float64 on the CPU on every backend. */
import { directionsOf, type Spectrum, spectrumOf } from '../../merge/opcm.ts';
import type { Buffers } from '../buffers.ts';
import type { CpuDevice, CpuMatrix } from '../cpu/cpu-device.ts';
import type { Eigensolver } from '../eigen/index.ts';
import type { ProjectionJob } from '../engine.ts';
import { ComputeError } from '../errors.ts';
import type { Meter } from '../meter.ts';
import type { Pace } from '../pace.ts';
import { ranges, type WideMatrix } from './wide.ts';
import { blocksOf } from './workbench.ts';

/** What the products need to know of a sum S of short side k. */
export interface Decomposition {
  readonly spectrum: Spectrum;
  /** Eigenvalues of S S^T, descending; k of them. */
  readonly values: Float64Array;
  /** directions x k, row-major: the eigenvectors that the rule needs (`directionsOf`). */
  readonly vectors: Float64Array<ArrayBuffer>;
}

export interface DecomposeComponents {
  readonly device: CpuDevice;
  readonly buffers: Buffers;
  readonly eigensolver: Eigensolver;
  readonly pace: Pace;
  readonly meter: Meter;
}

/**
 * Rows of a panel of the Gram matrix. A panel is multiplied with the rows from its own first one on: only the part of it
 * below the diagonal is computed in vain.
 */
const GRAM_PANEL = 128;

/** @throws ComputeError `NON_FINITE`, `BAD_JOB`, `RUNTIME_FAILED` */
export async function decompose(
  sum: WideMatrix,
  { rule, splitRank }: Pick<ProjectionJob, 'rule' | 'splitRank'>,
  components: DecomposeComponents,
): Promise<Decomposition> {
  const { buffers, eigensolver, pace, meter } = components;
  const gram = await gramOf(sum, components);
  let spectrum: Spectrum | undefined;
  const found = await meter.time('eigen', 'cpu', () =>
    pace.interruptible(() =>
      eigensolver.solve(gram, sum.short, {
        buffers,
        vectors: (values) => {
          spectrum = withSplit(spectrumOf(values, sum.long, rule.alpha), splitRank);
          return directionsOf(spectrum, rule.variant);
        },
      }),
    ),
  );
  buffers.give(gram);
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
async function gramOf(sum: WideMatrix, components: DecomposeComponents): Promise<Float64Array<ArrayBuffer>> {
  const { device, buffers, eigensolver, pace, meter } = components;
  const { addGram } = eigensolver;
  if (addGram === undefined) return gramByPanels(sum, components);
  const { short: k } = sum;
  const gram = buffers.float64(k * k).fill(0);
  for (const block of blocksOf(sum, device, k * k)) {
    const width = block[1] - block[0];
    const s = buffers.float64(k * width);
    sum.copyBlock(block, s);
    const add = () => pace.interruptible(() => addGram(gram, s, k, width));
    await meter.time('gram', 'cpu', add, ((k + 1) * k * width) / 2);
    buffers.give(s);
    await pace.pause();
  }
  return gram;
}

/** The same by products of panels with the rows from their first one on. */
async function gramByPanels(sum: WideMatrix, components: DecomposeComponents): Promise<Float64Array<ArrayBuffer>> {
  const { device, buffers, pace, meter } = components;
  const { short: k } = sum;
  const panels: { readonly start: number; readonly rows: number; product: CpuMatrix | null }[] = ranges(
    k,
    GRAM_PANEL,
  ).map(([start, end]) => ({ start, rows: end - start, product: null }));
  for (const block of blocksOf(sum, device, k * Math.min(k, GRAM_PANEL))) {
    const width = block[1] - block[0];
    const s = buffers.float64(k * width);
    sum.copyBlock(block, s);
    for (const panel of panels) {
      const { start, rows, product } = panel;
      const a = await device.upload(s.subarray(start * width, (start + rows) * width), rows, width);
      const b = await device.upload(s.subarray(start * width), k - start, width);
      panel.product = await meter.time(
        'gram',
        'cpu',
        () =>
          product === null
            ? device.run('timesTransposed', { A: a, B: b }, rows, k - start)
            : device.run('addTimesTransposed', { A: a, B: b, C: product }, rows, k - start),
        rows * (k - start) * width,
      );
      if (product !== null) device.release(product);
      await pace.pause();
    }
    buffers.give(s);
  }
  const gram = buffers.float64(k * k);
  for (const { start, rows, product } of panels) {
    const columns = k - start;
    for (let i = 0; i < rows; i++) {
      gram.set(product!.data.subarray(i * columns + i, (i + 1) * columns), (start + i) * k + start + i);
    }
    device.release(product!);
  }
  return gram;
}
