import { isDtype } from '../tensors/dtype.ts';

/**
 * Dtypes whose tensors take part in updates; all others are copied from the base (docs/algorithms.md A). The codec goes
 * by the same set, so payloads and charters agree on which tensors there are.
 */
export { FLOAT_DTYPES } from '../tensors/dtype.ts';

/** True for a dtype that a charter may name: those of docs/log-format.md, which are the ones that can be read. */
export function isKnownDtype(dtype: string): boolean {
  return isDtype(dtype);
}
