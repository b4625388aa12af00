/** A device's process with more tasks than the real one, for the tests of the device and of the process. */
import { existsSync, writeFileSync } from 'node:fs';
import * as ort from 'onnxruntime-node';
import { buildGraph, type GraphName } from '../../../src/compute/graphs.ts';
import { encodeModel } from '../../../src/compute/onnx-model.ts';
import { type DeviceTask, serveDevice } from '../../../src/compute/provider/device-server.ts';
import { deviceTasks } from '../../../src/compute/provider/device-tasks.ts';
import type { Bulk } from '../../../src/compute/provider/parcels.ts';
import { ProviderDevice } from '../../../src/compute/provider/provider-device.ts';
import { createSession, type Provider } from '../../../src/compute/provider/provider-sessions.ts';
import { type GraphCase, runGraph } from './graph-cases.ts';

const nothing = { fields: null, arrays: {} };

/** Runs one graph, with tiles of another side where asked for. */
const graph: DeviceTask = async ({ fields, arrays }, { provider }) => {
  const { tileSide, ...given } = fields as GraphCase & { tileSide?: number };
  const device = new ProviderDevice({ provider, ...(tileSide !== undefined && { tileSide }) });
  return { fields: null, arrays: { y: (await runGraph(given, arrays, device)) as Bulk } };
};

/**
 * Brings a matrix to the device and makes another of the same size there, on and on; tells by how much the process has
 * grown since a quarter of it.
 */
const repeat: DeviceTask = async ({ fields }, { device }) => {
  const { times, side } = fields as { times: number; side: number };
  const square = new Float32Array(side * side).fill(0.5);
  const thin = square.subarray(0, side);
  let early = 0;
  for (let i = 0; i < times; i++) {
    const x = await device.upload(square, side, side);
    const a = await device.upload(thin, side, 1);
    const y = await device.run('timesTransposed', { A: a, B: a }, side, side);
    await device.download(y);
    device.release(x, a, y);
    if (i === Math.floor(times / 4)) early = process.memoryUsage.rss();
  }
  return { fields: { grown: process.memoryUsage.rss() - early }, arrays: {} };
};

/** Leaves a matrix behind. */
const leave: DeviceTask = async ({ fields }, { device }) => {
  const { side } = fields as { side: number };
  await device.upload(new Float32Array(side * side), side, side);
  throw new Error(String(process.memoryUsage.rss()));
};

/** Work in many slices. */
const long: DeviceTask = async ({ fields }, { device, pace }) => {
  const { slices, side } = fields as { slices: number; side: number };
  const a = await device.upload(new Float32Array(side * side), side, side);
  for (let i = 0; i < slices; i++) {
    device.release(await device.run('times', { A: a, B: a }, side, side));
    await pace.pause();
  }
  return nothing;
};

/** Whether a float64 graph gets a session: as this project makes them, and as onnxruntime does by default. */
const float64: DeviceTask = async (_, { provider }) => {
  const build = (name: GraphName) => buildGraph(name, 'float64');
  const refusal = await createSession(provider, build('times'), 'device').then(
    () => null,
    (error: unknown) => String(error),
  );
  const byDefault = await ort.InferenceSession.create(encodeModel(build('times')), { executionProviders: [provider] });
  const one = new ort.Tensor('float64', [2], [1, 1]);
  const { Y } = await byDefault.run({ A: one, B: one });
  return { fields: { refusal, byDefault: Y!.type }, arrays: {} };
};

/** Never comes back. */
const stuck: DeviceTask = async () => {
  for (;;);
};

const echo: DeviceTask = async (parcel) => parcel;

const environment: DeviceTask = async () => {
  process.stdout.write('this must not be seen\n');
  return { fields: process.env.ORT_DISABLE_TELEMETRY, arrays: {} };
};

/** Dies on a matrix of one row, fails on one of two, and dies once on one of three: when DIES_ONCE names no file yet. */
const products: DeviceTask = async (parcel, context) => {
  const { rows } = parcel.fields as { rows: number };
  if (rows === 1) process.kill(process.pid, 'SIGKILL');
  const mark = process.env.DIES_ONCE;
  if (rows === 3 && mark !== undefined && !existsSync(mark)) {
    writeFileSync(mark, '');
    process.kill(process.pid, 'SIGKILL');
  }
  if (rows === 2) throw new Error('device lost');
  return deviceTasks.products(parcel, context);
};

const tasks = { ...deviceTasks, products, graph, repeat, leave, long, float64, stuck, echo, environment };
serveDevice(process.argv[2] as Provider, tasks);
