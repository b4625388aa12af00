/** Whether two tensors hold the same values, whatever they are stored as. */
import type { RunOptions } from '../run-options.ts';
import type { Checkpoint } from './checkpoint.ts';
import { widen } from './convert.ts';
import { dtypeBytes, type FloatDtype } from './dtype.ts';

/** What reading bytes needs of a checkpoint. */
export interface TensorBytes {
  readonly tensors: ReadonlyMap<string, { readonly dtype: string; readonly shape: readonly number[] }>;
  chunks: Checkpoint['chunks'];
}

/** One tensor of one checkpoint. */
export interface TensorRef {
  readonly source: TensorBytes;
  readonly name: string;
}

/** Elements of one step: half a megabyte of float32 of each side. */
const VALUES_PER_CHUNK = 2 ** 17;

/** Compares two float tensors of one shape as float32, streaming; it stops at the first chunk that differs. */
export async function sameValues(a: TensorRef, b: TensorRef, options: RunOptions = {}): Promise<boolean> {
  const [first, second] = [valuesOf(a, options), valuesOf(b, options)];
  try {
    for (;;) {
      const [x, y] = [await first.next(), await second.next()];
      if (x.done === true || y.done === true) return x.done === y.done;
      if (!x.value.equals(y.value)) return false;
    }
  } finally {
    await first.return(undefined);
    await second.return(undefined);
  }
}

/** The values as bytes of float32, in chunks of equally many elements. */
async function* valuesOf({ source, name }: TensorRef, { signal }: RunOptions): AsyncGenerator<Buffer, void> {
  const dtype = source.tensors.get(name)!.dtype as FloatDtype;
  const chunkBytes = VALUES_PER_CHUNK * dtypeBytes(dtype);
  for await (const chunk of source.chunks(name, { chunkBytes, ...(signal && { signal }) })) {
    const { buffer, byteOffset, byteLength } = widen(chunk, dtype);
    yield Buffer.from(buffer, byteOffset, byteLength);
  }
}
