/** The machine's own rate of matrix products, which no step can be faster than. */
import type { BenchmarkContext, Cell } from '../benchmark.ts';
import { runModule } from '../child.ts';
import { measuredModule } from '../compiled.ts';
import { median } from '../rounds.ts';
import type { Gemm, GemmJob } from './gemm-child.ts';
import { findNumpy, runScript } from './numpy.ts';

const GEMM = 'merge/gemm-child';
const FULL = { side: 2048, repeats: 3 };
const QUICK = { side: 128, repeats: 1 };

/** In 1e9 operations per second; `openblas` is numpy's, `onnxruntime` that of its Gemm. */
export interface Rate {
  readonly openblas: Readonly<Record<'float64' | 'float32', number>>;
  readonly onnxruntime: Readonly<Record<'float64' | 'float32', number>>;
}

/** Measures it once: the best of a few products of 2048 x 2048. */
export async function measureRate(
  context: BenchmarkContext,
  run: { readonly threads: number; readonly prefix: readonly string[] },
): Promise<Rate> {
  const { signal, workspace, quick } = context;
  const { side, repeats } = quick ? QUICK : FULL;
  const { python } = await findNumpy(context);
  const numpy = await runScript<Gemm>(python, 'gemm_reference.py', [side, repeats], { signal, ...run });
  const job: GemmJob = { side, repeats, threads: run.threads };
  const child = await measuredModule(workspace, GEMM, signal);
  const onnxruntime = await runModule<Gemm>(child, job, { signal, prefix: run.prefix });
  const rates = ({ seconds }: Gemm) => ({
    float64: (2 * side ** 3) / seconds.float64 / 1e9,
    float32: (2 * side ** 3) / seconds.float32 / 1e9,
  });
  return { openblas: rates(numpy), onnxruntime: rates(onnxruntime) };
}

/** Each figure's median over the rounds. */
export function medianRate(rates: readonly Rate[]): Rate {
  const of = (by: keyof Rate) => ({
    float64: median(rates.map((rate) => rate[by].float64)),
    float32: median(rates.map((rate) => rate[by].float32)),
  });
  return { openblas: of('openblas'), onnxruntime: of('onnxruntime') };
}

export function rateRows(rate: Rate): Record<string, Cell>[] {
  const row = (what: string, by: keyof Rate) => ({
    what,
    'float64 GFLOP/s': rate[by].float64,
    'float32 GFLOP/s': rate[by].float32,
  });
  return [row('numpy, OpenBLAS', 'openblas'), row('onnxruntime, Gemm on its cpu provider', 'onnxruntime')];
}
