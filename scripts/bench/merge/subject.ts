/** What is measured: the only file of the benchmark that knows how the merge is called. */
import { writeFile } from 'node:fs/promises';
import { encodeTaskVector, tableOf } from '../../../src/codec/index.ts';
import { encodeTernary } from '../../../src/codec/payload-encode.ts';
import type { TernaryTensor } from '../../../src/codec/types.ts';
import { Buffers } from '../../../src/compute/buffers.ts';
import { createEngine, type MatrixEngine, openEigensolver, type Phase } from '../../../src/compute/index.ts';
import { encodeModel } from '../../../src/compute/onnx-model.ts';
import { exportMerged, foldStep, isLinearByDefault, openState, withPayloadUpdate } from '../../../src/merge/index.ts';
import type { RunOptions } from '../../../src/run-options.ts';
import { openCheckpoint } from '../../../src/tensors/index.ts';
import type { Projected, Variant } from './floor.ts';
import type { ModelTensor } from './models.ts';

/** Share of the nuclear norm that is protected: the default of the rule. */
const ALPHA = 0.5;

export interface Backend {
  readonly device: 'cpu' | 'webgpu';
  readonly eigensolver: 'lapack' | 'portable';
}

export const CPU: Backend = { device: 'cpu', eigensolver: 'lapack' };
export const PORTABLE: Backend = { device: 'cpu', eigensolver: 'portable' };
export const WEBGPU: Backend = { device: 'webgpu', eigensolver: 'lapack' };

export type { MatrixEngine, Phase, TernaryTensor };

export function openEngine(backend: Backend, workers: number): Promise<MatrixEngine> {
  return createEngine({ ...backend, workers });
}

/** Side of the matrices that an engine is warmed up with. */
const WARM_SIDE = 16;

/**
 * Has every worker of an engine do a small job, so that its threads run and its libraries are loaded: what a node that
 * waits for its next update has.
 */
export async function warmUp(engine: MatrixEngine): Promise<void> {
  const matrix = (step: number) => Float32Array.from({ length: WARM_SIDE ** 2 }, (_, i) => Math.sin(step * i));
  const job = () => ({ sum: matrix(1), update: matrix(2), rows: WARM_SIDE, columns: WARM_SIDE });
  const rule = { variant: 'ref', alpha: ALPHA } as const;
  await Promise.all(Array.from({ length: engine.workers }, () => engine.project({ ...job(), rule })));
}

export interface FoldInput {
  readonly from: string | null;
  readonly to: string;
  /** The update's payload file. */
  readonly payload: string;
  readonly tensors: readonly ModelTensor[];
  readonly variant: Variant;
}

export interface FoldReport {
  /** Seconds are summed over threads. */
  readonly phases: readonly Phase[];
  readonly matrices: readonly Projected[];
}

/** One step as the daemon takes it: checks the payload, and folds it meanwhile, tensor by tensor as it is decoded. */
export async function fold(input: FoldInput, engine: MatrixEngine, run: RunOptions = {}): Promise<FoldReport> {
  const { from, to, tensors, variant } = input;
  const table = tensors.map(({ name, shape }) => ({ name, shape, elements: shape.reduce((a, b) => a * b, 1) }));
  const rule = { variant, alpha: ALPHA };
  const summary = await withPayloadUpdate(input.payload, table, run, (update) =>
    foldStep({ from, to, tensors, update, rule, engine }, run),
  );
  const matrices = summary.tensors.flatMap(({ projected, splitRank }, i) => {
    const [rows = 1, columns = 1] = tensors[i]!.shape;
    return projected ? [{ rows, columns, splitRank: splitRank ?? 0 }] : [];
  });
  return { phases: summary.phases, matrices };
}

/** Writes the payload of ternary tensors. */
export async function writeTernary(
  path: string,
  tensors: readonly ModelTensor[],
  content: Iterable<TernaryTensor>,
): Promise<void> {
  const table = tensors.map(({ name, shape }) => ({ name, shape, elements: shape.reduce((a, b) => a * b, 1) }));
  await writeFile(path, await encodeTernary(table, content));
}

/** Writes the payload of a fine-tuned checkpoint, one selection and one scale per tensor. */
export async function writeFinetune(
  pair: { readonly base: string; readonly finetune: string },
  out: string,
  density: number,
  run: RunOptions,
): Promise<void> {
  const base = await openCheckpoint(pair.base, run);
  try {
    const finetune = await openCheckpoint(pair.finetune, run);
    try {
      const settings = { density, mode: 'tensor', scaleUnit: 'magnitude', scaleFactor: 1 } as const;
      await encodeTaskVector({ base, finetune, table: tableOf(base), ...settings, container: false }, out, run);
    } finally {
      await finetune.close();
    }
  } finally {
    await base.close();
  }
}

/** Which tensors are linear where only names and shapes are known. */
export const isLinear = isLinearByDefault;

/** Names and shapes of a checkpoint's float tensors, in the order of an update's table. */
export async function tensorsOf(
  path: string,
  linear: (name: string, shape: readonly number[]) => boolean,
): Promise<ModelTensor[]> {
  const checkpoint = await openCheckpoint(path);
  try {
    return tableOf(checkpoint).map(({ name, shape }) => ({ name, shape, linear: linear(name, shape) }));
  } finally {
    await checkpoint.close();
  }
}

/** Writes the merged checkpoint of a state beside its base. */
export async function writeMerged(state: string, base: string, out: string, run: RunOptions = {}): Promise<void> {
  const checkpoint = await openCheckpoint(base, run);
  try {
    await exportMerged({ state, base: checkpoint, scale: 1, out }, run);
  } finally {
    await checkpoint.close();
  }
}

/** |M - M'| / |M'| of each tensor of two states of one model, M = S / lambda being the merged task vector. */
export async function differences(path: string, reference: string, run: RunOptions = {}): Promise<Map<string, number>> {
  const one = await openState(path, run);
  const two = await openState(reference, run);
  try {
    const found = new Map<string, number>();
    for (const [index, { name, shape }] of two.tensors.entries()) {
      const elements = shape.reduce((a, b) => a * b, 1);
      const [a, b] = [new Float32Array(elements), new Float32Array(elements)];
      await one.read(index, a, run);
      await two.read(index, b, run);
      let [difference, norm] = [0, 0];
      for (let i = 0; i < elements; i++) {
        const wanted = b[i]! / two.lambda;
        difference += (a[i]! / one.lambda - wanted) ** 2;
        norm += wanted * wanted;
      }
      found.set(name, norm === 0 && difference === 0 ? 0 : Math.sqrt(difference / norm));
    }
    return found;
  } finally {
    await one.close();
    await two.close();
  }
}

/** An ONNX model of one product Y = A B of float matrices. */
export function productModel(type: 'float32' | 'float64'): Uint8Array {
  const value = (name: string, ...shape: string[]) => ({ name, type, shape });
  return encodeModel({
    name: 'product',
    inputs: [value('A', 'p', 'n'), value('B', 'n', 'q')],
    outputs: [value('Y', 'p', 'q')],
    nodes: [{ op: 'Gemm', inputs: ['A', 'B'], outputs: ['Y'] }],
  });
}

/** The eigensolver through the platform's LAPACK, with working memory that stays, as in the engine's threads. */
export function openLapack(): { description: string; solve(matrix: Float64Array, n: number): Float64Array } {
  const solver = openEigensolver('lapack');
  const buffers = new Buffers();
  return {
    description: solver.description,
    solve(matrix, n) {
      const { values, vectors } = solver.solve(matrix, n, { buffers });
      buffers.give(vectors);
      return values;
    },
  };
}
