/**
 * ComPEFT, the codec of updates (docs/algorithms.md A and B, docs/payload-format.md): keep the largest entries of a
 * task vector, replace each by sign times scale, and code the positions of each tensor by Golomb gaps or, where that is
 * smaller, by an entropy coder that learns the densities of rows and columns.
 *
 * - `encode.ts`: base and fine-tune to a payload file, streaming (`task-vector.ts`, `moments.ts`, `select.ts`,
 *   `payload-file.ts`)
 * - `payload-encode.ts`, `payload-reader.ts`: ternary and low-rank tensors to bytes and back (`format.ts`,
 *   `format-coding.ts`, `format-low-rank.ts` and `cursor.ts` headers, `source.ts` bytes or files)
 * - `section-choice.ts`: which coding a tensor gets; `section-bits.ts` and `golomb-decoder.ts` for coding 0,
 *   `ans-model.ts`, `ans-encode.ts` and `ans-decoder.ts` for coding 1
 * - `container.ts`: a payload with its own table of names and shapes, for files outside a community
 * - `low-rank.ts`, `low-rank-product.ts`: tensors that travel as two ternary factors, and the product of these
 * - `ternary.ts`, `expand.ts`, `size.ts`, `table.ts`: masks, dense values, size formulas, tensor tables
 */

export { type Alignment, type AlignPolicy, alignTensors, type TensorDifference } from './align.ts';
export { type Container, openContainer, writeContainer } from './container.ts';
export type { EncoderParameters } from './container-format.ts';
export { type DenseOptions, type DenseTensor, denseTensors } from './decode/dense.ts';
export { type EncodeInput, type EncodeReport, encodeTaskVector } from './encode/encode.ts';
export type { EncoderSettings } from './encode/settings.ts';
export {
  CodecError,
  type CodecErrorCode,
  type ContainerErrorCode,
  type EncodeErrorCode,
  isPayloadFault,
  PAYLOAD_ERROR_CODES,
  type PayloadErrorCode,
  type ReadErrorCode,
} from './errors.ts';
export { expand } from './expand.ts';
export {
  MAX_PRODUCT_SIDE,
  MAX_SCALE,
  MAX_TABLE_TENSORS,
  MAX_TENSOR_ELEMENTS,
  MAX_UPDATE_RANK,
  MIN_SCALE,
} from './limits.ts';
export { isLowRankScale, isLowRankShape, lowRankScale } from './low-rank.ts';
export { encodeTernary, encodeTernarySync } from './payload-encode.ts';
export { checkPayload, openPayload } from './payload-reader.ts';
export {
  entropyBitsPerEntry,
  entropyBoundBits,
  expectedRiceGapBits,
  fp16Bytes,
  golombGapBits,
  golombParameter,
  riceGapBits,
  riceParameter,
} from './size.ts';
export type { PayloadSource } from './source.ts';
export { checkTable, type FloatSource, isFloatDtype, tableOf } from './table.ts';
export { isWireScale, maskWords, popcount, popcount32, ternaryFromSigns } from './ternary.ts';
export type {
  AnsModel,
  LowRankSection,
  LowRankTensor,
  PayloadMeasure,
  PayloadReader,
  PayloadSection,
  ScaleMode,
  ScaleUnit,
  SectionCoding,
  SignMasks,
  TableTensor,
  TensorMeasure,
  TensorTable,
  TernaryTensor,
  UpdateSection,
  UpdateTensor,
} from './types.ts';
