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

type Rates = Readonly<Record<'float64' | 'float32', number>>;

/** In 1e9 operations per second; `openblas` is numpy's, if there is one, `onnxruntime` that of its Gemm. */
export interface Rate {
  readonly openblas: Rates | null;
  readonly onnxruntime: Rates;
}

/** The float64 rate of the faster of the two. */
export function fastest({ openblas, onnxruntime }: Rate): number {
  return Math.max(openblas?.float64 ?? 0, onnxruntime.float64);
}

/** Measures it once: the best of a few products of 2048 x 2048. */
export async function measureRate(
  context: BenchmarkContext,
  run: { readonly threads: number; readonly prefix: readonly string[] },
): Promise<Rate> {
  const { signal, workspace, quick } = context;
  const { side, repeats } = quick ? QUICK : FULL;
  const found = await findNumpy(context).catch(() => null);
  signal.throwIfAborted();
  const numpy =
    found && (await runScript<Gemm>(found.python, 'gemm_reference.py', [side, repeats], { signal, ...run }));
  const job: GemmJob = { side, repeats, threads: run.threads };
  const child = await measuredModule(workspace, GEMM, signal);
  const onnxruntime = await runModule<Gemm>(child, job, { signal, prefix: run.prefix });
  const rates = ({ seconds }: Gemm) => ({
    float64: (2 * side ** 3) / seconds.float64 / 1e9,
    float32: (2 * side ** 3) / seconds.float32 / 1e9,
  });
  return { openblas: numpy && rates(numpy), onnxruntime: rates(onnxruntime) };
}

/** Each figure's median over the rounds. */
export function medianRate(rates: readonly Rate[]): Rate {
  const of = (all: readonly Rates[]): Rates => ({
    float64: median(all.map((rate) => rate.float64)),
    float32: median(all.map((rate) => rate.float32)),
  });
  const openblas = rates.flatMap((rate) => (rate.openblas === null ? [] : [rate.openblas]));
  return {
    openblas: openblas.length === 0 ? null : of(openblas),
    onnxruntime: of(rates.map((rate) => rate.onnxruntime)),
  };
}

export function rateRows({ openblas, onnxruntime }: Rate): Record<string, Cell>[] {
  const row = (what: string, rates: Rates | null) => ({
    what,
    'float64 GFLOP/s': rates?.float64 ?? null,
    'float32 GFLOP/s': rates?.float32 ?? null,
  });
  return [row('numpy, OpenBLAS', openblas), row('onnxruntime, Gemm on its cpu provider', onnxruntime)];
}
