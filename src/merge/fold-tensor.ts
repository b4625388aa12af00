/** One tensor's part of a fold step. */
import { ComputeError, type MatrixEngine, type Phase, sumSquares } from '../compute/index.ts';
import { MergeError } from './errors.ts';
import type { OpcmRule } from './opcm.ts';
import type { FoldTensor } from './task-vector.ts';

/** What happened to one tensor; the spectrum is that of the sum before the step. */
export interface FoldedTensor {
  readonly name: string;
  /** Whether an update that is not zero met a sum that is not zero in a linear tensor. */
  readonly projected: boolean;
  /** Of the new sum, float64. */
  readonly sumSquares: number;
  readonly splitRank?: number;
  /** The split rank that another machine's rounding may give, where alpha is that near; else null. */
  readonly splitNeighbour?: number | null;
  readonly rank?: number;
  readonly nuclearNorm?: number;
  readonly sigmaMax?: number;
  /** <S, C>; 0 up to rounding for a sum of full numerical rank. */
  readonly innerProduct?: number;
  /** Share of the update's energy in this tensor that the projection removed. */
  readonly removedEnergy?: number;
}

/** The tensor's operands; the buffers are used up, and those of the result take their place. */
export interface TensorStep {
  readonly tensor: FoldTensor;
  readonly sum: Float32Array<ArrayBuffer>;
  readonly update: Float32Array<ArrayBuffer>;
  /** Whether the sum and the update have entries that are not zero. */
  readonly filled: boolean;
  readonly rule: OpcmRule;
  /** Instead of what the spectrum gives. */
  readonly splitRank?: number | undefined;
  readonly engine: MatrixEngine;
  readonly signal: AbortSignal;
}

export interface Folded {
  readonly report: FoldedTensor;
  /** The new sum. */
  readonly sum: Float32Array<ArrayBuffer>;
  /** For reuse. */
  readonly update: Float32Array<ArrayBuffer>;
  /** Sum of squares of the update as it came. */
  readonly updateSquares: number;
  readonly phases: readonly Phase[];
}

/** @throws MergeError `NON_FINITE`; ComputeError with the tensor's name among its fields */
export async function foldTensor(step: TensorStep): Promise<Folded> {
  const { name } = step.tensor;
  if (!(step.tensor.linear && step.filled)) return addTensor(step);
  const [rows, columns] = step.tensor.shape as [number, number];
  const { engine, sum, update, rule, splitRank: asked, signal } = step;
  try {
    const job = { sum, update, rows, columns, rule, ...(asked !== undefined && { splitRank: asked }) };
    const result = await engine.project(job, { signal });
    const { squares, splitRank, splitNeighbour, rank, nuclearNorm, sigmaMax, innerProduct } = result;
    // The engine meets zeros that nobody announced, and then projects nothing.
    const projected = squares.sum > 0 && squares.update > 0;
    const spectrum = { splitRank, splitNeighbour, rank, nuclearNorm, sigmaMax, innerProduct };
    const removedEnergy = 1 - squares.projected / squares.update;
    return {
      report: {
        name,
        projected,
        sumSquares: result.sumSquares,
        ...(projected ? { ...spectrum, removedEnergy } : {}),
      },
      sum: result.sum,
      update: result.update,
      updateSquares: squares.update,
      phases: result.phases,
    };
  } catch (error) {
    if (!(error instanceof ComputeError)) throw error;
    const fields = { ...error.fields, tensor: name };
    if (error.code === 'NON_FINITE') throw nonFinite(name, fields);
    throw new ComputeError(error.code, `Tensor '${name}': ${error.message}`, fields, { cause: error });
  }
}

function addTensor({ tensor, sum, update }: TensorStep): Folded {
  const updateSquares = sumSquares(update);
  if (updateSquares !== 0) for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + update[i]!;
  const squares = sumSquares(sum);
  if (!Number.isFinite(updateSquares + squares)) throw nonFinite(tensor.name);
  const report = { name: tensor.name, projected: false, sumSquares: squares };
  return { report, sum, update, updateSquares, phases: [] };
}

function nonFinite(tensor: string, fields: Record<string, unknown> = { tensor }): MergeError {
  return new MergeError(
    'NON_FINITE',
    `Tensor '${tensor}' has a NaN or infinite value in the update, or would get one by adding it. Nothing was folded.`,
    fields,
  );
}
