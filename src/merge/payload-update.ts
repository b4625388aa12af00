/** A payload file as the update of a fold. */
import { checkPayload, expand, openPayload, type TensorTable } from '../codec/index.ts';
import type { RunOptions } from '../run-options.ts';
import type { TaskVector } from './task-vector.ts';

/**
 * Calls `use` with the update of a payload, which is checked in full meanwhile: its norm is there when the check has
 * passed.
 *
 * @param table - the tensors of the fold, in its order
 * @throws CodecError; whatever `use` throws
 */
export async function withPayloadUpdate<Result>(
  path: string,
  table: TensorTable,
  options: RunOptions,
  use: (update: TaskVector) => Promise<Result>,
): Promise<Result> {
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  const payload = await openPayload(path, table, options);
  const norm = checkPayload(path, table, { signal }).then((measure) => measure.norm);
  const checked = norm.then(
    () => undefined,
    () => undefined,
  );
  try {
    return await use({
      norm,
      async read(index, out) {
        const tensor = await payload.tensor(index);
        if (tensor === null) return false;
        expand(tensor, out);
        return true;
      },
    });
  } finally {
    stop.abort();
    await checked;
    await payload.close();
  }
}
