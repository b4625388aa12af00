/**
 * Matrix work of the merge as ONNX graphs on onnxruntime.
 *
 * - `engine.ts`: the interface that every backend implements, and `createEngine`, which picks one; `job.ts`: its checks
 * - `projection/`: one projection. `decompose.ts`: its Gram matrix and eigenproblem, on the CPU; `products.ts` and
 *   `workbench.ts`: its large products, on any device; `ref-products.ts`, `right-vectors.ts`: those of `ref` in float32;
 *   `wide.ts`: matrices with the shorter side first; `sums.ts`: sums in a fixed order
 * - `device.ts`: what a device offers for the products; `graphs.ts`, `onnx-model.ts`: what runs on it
 * - `cpu/`: the CPU as a device, and the engine with its worker threads
 * - `provider/`: onnxruntime's other execution providers. `provider-engine.ts`: the engine; `device-process.ts`: a
 *   device's process as its engine sees it; `device-child.ts`, `device-server.ts`, `device-tasks.ts`, `products-task.ts`,
 *   `probe-task.ts`: that process itself; `device-messages.ts`, `parcels.ts`, `products-parcel.ts`: what goes between
 *   them; `provider-device.ts`, `provider-sessions.ts`: a provider as a device; `tiles.ts`, `tile-graphs.ts`: matrices
 *   beyond its limits; `probe.ts`, `install-hints.ts`: which devices work, and how to get one
 * - `eigen/`: the symmetric eigenproblem
 * - `buffers.ts`: working memory; `meter.ts`: where the time went; `pace.ts`: how work is stopped; `failures.ts`: errors
 *   that cross threads and processes
 */
export { SLICE_PRODUCTS } from './cpu/cpu-device.ts';
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
export { INNER_PRODUCT_TOLERANCE, projectionBytes } from './projection/projection.ts';
export { sumSquares } from './projection/sums.ts';
export { AUTO_ADVANTAGE, type ProbeOptions, type ProbeOutcome, probeDevice } from './provider/probe.ts';
