/**
 * The right singular vectors of S, for devices whose products are float32.
 *
 * With singular values sigma, a product with S in float32 is wrong by about 2^-24 sigma_max in every direction, and the
 * rule divides by sigma_i: what it removes along the last directions is then wrong by 2^-24 sigma_max / sigma_i. A few such
 * steps of `ref`, whose tail's directions are near each other, grow that threefold each. With unit vectors rounded from
 * float64 the error is that of one rounding in every direction.
 */
import type { Buffers } from '../buffers.ts';
import type { CpuDevice } from '../cpu/cpu-device.ts';
import type { Meter } from '../meter.ts';
import type { Pace } from '../pace.ts';
import type { Decomposition } from './decompose.ts';
import type { WideMatrix } from './wide.ts';
import { blocksOf } from './workbench.ts';

export interface RightVectorsComponents {
  readonly device: CpuDevice;
  readonly buffers: Buffers;
  readonly pace: Pace;
  readonly meter: Meter;
}

/**
 * Q = Sigma^-1 V S, computed in float64 on the CPU.
 *
 * @param sum - k x n
 * @param decomposition - of `sum`
 * @returns directions x n, row-major; the rows are the unit vectors that belong to those of `vectors`
 */
export async function rightVectorsOf(
  sum: WideMatrix,
  { values, vectors }: Decomposition,
  { device, buffers, pace, meter }: RightVectorsComponents,
): Promise<Float32Array<ArrayBuffer>> {
  const { short: k, long: n } = sum;
  const directions = vectors.length / k;
  const right = new Float32Array(directions * n);
  const v = await device.upload(vectors, directions, k);
  for (const range of blocksOf(sum, device, directions * k)) {
    const [start, end] = range;
    const width = end - start;
    const block = buffers.float64(k * width);
    sum.copyBlock(range, block);
    const s = await device.upload(block, k, width);
    const work = () => device.run('times', { A: v, B: s }, directions, width);
    const product = await meter.time('vectors', 'cpu', work, directions * width * k);
    for (let i = 0; i < directions; i++) {
      const factor = 1 / Math.sqrt(values[i]!);
      for (let j = 0; j < width; j++) right[i * n + start + j] = factor * product.data[i * width + j]!;
    }
    device.release(product, s);
    buffers.give(block);
    await pace.pause();
  }
  device.release(v);
  return right;
}
