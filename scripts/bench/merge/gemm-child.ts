/** The machine's rate of matrix products: onnxruntime's, with as many threads as asked. */
import * as ort from 'onnxruntime-node';
import { productModel } from './subject.ts';

export interface GemmJob {
  readonly side: number;
  readonly repeats: number;
  readonly threads: number;
}

export interface Gemm {
  /** The best of the repeats. */
  readonly seconds: Readonly<Record<'float32' | 'float64', number>>;
}

const job = JSON.parse(process.argv[2]!) as GemmJob;
const result: Gemm = { seconds: { float64: await best('float64', job), float32: await best('float32', job) } };
process.stdout.write(JSON.stringify(result));

async function best(type: 'float32' | 'float64', { side, repeats, threads }: GemmJob): Promise<number> {
  const options = { executionProviders: ['cpu'], intraOpNumThreads: threads, interOpNumThreads: 1 };
  const session = await ort.InferenceSession.create(productModel(type), options);
  const matrix = (scale: number) => {
    const data = new (type === 'float64' ? Float64Array : Float32Array)(side * side);
    for (let i = 0; i < data.length; i++) data[i] = Math.sin(scale * i);
    return new ort.Tensor(type, data, [side, side]);
  };
  const feeds = { A: matrix(1), B: matrix(2) };
  let least = Number.POSITIVE_INFINITY;
  for (let run = 0; run <= repeats; run++) {
    const started = performance.now();
    await session.run(feeds);
    if (run > 0) least = Math.min(least, (performance.now() - started) / 1000);
  }
  return least;
}
