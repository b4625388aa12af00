/**
 * Matrix work of the merge as ONNX graphs on onnxruntime.
 *
 * - `engine.ts`: the interface that every backend implements, and `createEngine`, which picks one
 * - `cpu-engine.ts`, `cpu-worker.ts`, `messages.ts`, `job.ts`: the CPU backend in worker threads
 * - `projection.ts`: one projection; `decompose.ts`: its Gram matrix and eigenproblem, on the CPU; `products.ts`,
 *   `workbench.ts`: its large products, on any device
 * - `device.ts`: what a device offers; `cpu-device.ts`: the CPU as one; `graphs.ts`, `onnx-model.ts`: what runs on them
 * - `provider-engine.ts`: the other backends; `right-vectors.ts`, `ref-products.ts`: what float32 products take for `ref`;
 *   `device-process.ts`: a device's process as its engine sees it
 * - `device-child.ts`, `device-server.ts`, `device-tasks.ts`, `products-task.ts`, `probe-task.ts`: that process itself;
 *   `device-messages.ts`, `parcels.ts`, `products-parcel.ts`, `failures.ts`: what goes between them
 * - `provider-device.ts`, `provider-sessions.ts`: onnxruntime's execution providers as devices; `tiles.ts`,
 *   `tile-graphs.ts`: matrices beyond a device's limits
 * - `probe.ts`, `install-hints.ts`: which devices work, and how to get one
 * - `eigen/`: the symmetric eigenproblem
 * - `wide.ts`: matrices with the shorter side first; `buffers.ts`: working memory; `sums.ts`: sums in a fixed order;
 *   `meter.ts`: where the time went; `pace.ts`: how work is stopped
 */
export { SLICE_PRODUCTS } from './cpu-device.ts';
export {
  describeEigensolver,
  EIGENSOLVERS,
  type EigenRequest,
  type Eigensolver,
  type EigensolverName,
  type EigensolverStatus,
  eigensolverHint,
  LAPACK_ORDER_MAX,
  lapackCandidates,
  openEigensolver,
  PORTABLE_ORDER_MAX,
  type SymmetricEigen,
} from './eigen/index.ts';
export {
  createEngine,
  DEFAULT_WORKERS_MAX,
  DEVICES,
  type Device,
  type EngineComponents,
  type EngineOptions,
  type MatrixEngine,
  type ProjectionJob,
  type ProjectionResult,
  WORKERS_MAX,
} from './engine.ts';
export { ComputeError, type ComputeErrorCode } from './errors.ts';
export { SHORT_SIDE_MAX } from './job.ts';
export { Meter, type Phase } from './meter.ts';
export { AUTO_ADVANTAGE, type ProbeOptions, type ProbeOutcome, probeDevice } from './probe.ts';
export { INNER_PRODUCT_TOLERANCE, projectionBytes } from './projection.ts';
export { sumSquares } from './sums.ts';
