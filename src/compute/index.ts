/**
 * Matrix work of the merge as ONNX graphs on onnxruntime.
 *
 * - `engine.ts`: the interface that every backend implements, and `createEngine`, which picks one
 * - `cpu-engine.ts`, `cpu-worker.ts`, `messages.ts`, `job.ts`: the CPU backend in worker threads
 * - `projection.ts`: one projection in slices; `kernels.ts`: runs graphs; `graphs.ts`, `onnx-model.ts`: build them
 * - `eigen/`: the symmetric eigenproblem; `sums.ts`: sums in a fixed order
 */
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
  type EngineOptions,
  type MatrixEngine,
  type ProjectionJob,
  type ProjectionResult,
  WORKERS_MAX,
} from './engine.ts';
export { ComputeError, type ComputeErrorCode } from './errors.ts';
export { SHORT_SIDE_MAX } from './job.ts';
export { INNER_PRODUCT_TOLERANCE, SLICE_PRODUCTS } from './projection.ts';
export { sumSquares } from './sums.ts';
