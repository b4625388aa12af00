/** Whether a device multiplies correctly, and how fast beside the CPU. Runs in the device's process. */
import * as ort from 'onnxruntime-node';
import { ComputeError } from '../errors.ts';
import { buildGraph } from '../graphs.ts';
import { encodeModel } from '../onnx-model.ts';
import type { DeviceTask } from './device-server.ts';
import type { ProviderDevice } from './provider-device.ts';

/**
 * Sides of the matrices that are timed. A device that is slower than one thread of the CPU with the first is not given
 * the second, which is as much work as a layer of a small model: a software driver would take seconds for it.
 */
export const PROBE_SIDES = [512, 1024] as const;

/** The result of a probe; rates in GFLOP/s. */
export interface ProbeRates {
  /** Of a float32 product on the device, fetched back. */
  readonly device: number;
  /** Of a float64 product on one thread of the CPU. */
  readonly cpu: number;
}

/** Takes the field `rates`: whether to time it. Gives ProbeRates, or null when not timed. */
export const probeTask: DeviceTask = async ({ fields }, { provider, device, pace }) => {
  if (!(await multipliesCorrectly(device))) {
    throw new ComputeError('RUNTIME_FAILED', `${provider} computes wrong products.`, { provider });
  }
  await pace.pause();
  const { rates } = fields as { rates: boolean };
  return { fields: rates ? await timed(device) : null, arrays: {} };
};

/** A product of small whole numbers, which is exact in every element type. */
async function multipliesCorrectly(device: ProviderDevice): Promise<boolean> {
  const [p, n, q] = [37, 53, 29];
  const a = Float32Array.from({ length: p * n }, (_, i) => (i % 7) - 3);
  const b = Float32Array.from({ length: n * q }, (_, i) => (i % 5) - 2);
  const inputs = { A: await device.upload(a, p, n), B: await device.upload(b, n, q) };
  const product = await device.run('times', inputs, p, q);
  const found = await device.download(product);
  device.release(inputs.A, inputs.B, product);
  return found.every((entry, at) => {
    const row = Math.floor(at / q) * n;
    let expected = 0;
    for (let l = 0; l < n; l++) expected += a[row + l]! * b[l * q + (at % q)]!;
    return entry === expected;
  });
}

async function timed(device: ProviderDevice): Promise<ProbeRates> {
  const session = await ort.InferenceSession.create(encodeModel(buildGraph('times', 'float64')), {
    executionProviders: ['cpu'],
    intraOpNumThreads: 1,
  });
  let rates: ProbeRates = { device: 0, cpu: 0 };
  for (const side of PROBE_SIDES) {
    const entries = Float64Array.from({ length: side * side }, (_, i) => Math.sin(i));
    const tensor = new ort.Tensor('float64', entries, [side, side]);
    const a = await device.upload(entries, side, side);
    const onDevice = await rateOf(side, async () => {
      const product = await device.run('times', { A: a, B: a }, side, side);
      await device.download(product);
      device.release(product);
    });
    device.release(a);
    rates = { device: onDevice, cpu: await rateOf(side, () => session.run({ A: tensor, B: tensor })) };
    if (rates.device < rates.cpu) break;
  }
  return rates;
}

/** The second time: the first one compiles and warms up. */
async function rateOf(side: number, product: () => Promise<unknown>): Promise<number> {
  await product();
  const started = performance.now();
  await product();
  return (2 * side ** 3) / 1e6 / (performance.now() - started);
}
