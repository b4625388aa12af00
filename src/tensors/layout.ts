/** Where everything goes in a safetensors file: deterministic bytes for equal tensors and metadata. */
import { compareNames, type Dtype, dtypeBytes, dtypeRank, isDtype } from './dtype.ts';
import { quote, SafetensorsError, type SafetensorsErrorCode } from './errors.ts';
import { checkedProduct, type TensorInfo } from './header.ts';
import { MAX_HEADER_BYTES, MAX_METADATA_KEYS, MAX_NAME_BYTES, MAX_RANK, MAX_TENSORS } from './limits.ts';

/** What a writer needs to know of a tensor; a TensorInfo will do. */
export interface TensorPlan {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

export interface Layout {
  /** Length field and header, a multiple of 8 bytes. */
  readonly head: Uint8Array;
  /** In file order; `begin` counts bytes from the start of the file. */
  readonly places: ReadonlyMap<string, TensorInfo & { readonly begin: number }>;
  readonly fileBytes: number;
}

/**
 * Lays out a file as the reference implementation does: dtypes with the largest alignment first, then names in
 * code-point order. Unlike there, metadata keys are sorted, so equal input gives equal bytes; `format: pt`, which
 * loaders ask for, is added.
 *
 * @throws SafetensorsError DUPLICATE_TENSOR, INVALID_NAME, NAME_TOO_LONG, TOO_MANY_DIMENSIONS, NUMBER_FORM,
 *   SIZE_OVERFLOW, UNKNOWN_DTYPE, TOO_MANY_TENSORS, HEADER_TOO_LARGE, METADATA_INVALID
 */
export function layoutFile(tensors: readonly TensorPlan[], metadata: Readonly<Record<string, string>> = {}): Layout {
  if (tensors.length > MAX_TENSORS) throw fault('TOO_MANY_TENSORS', `more than ${MAX_TENSORS} tensors to write.`);
  const infos = tensors.map(checkPlan);
  infos.sort((a, b) => dtypeRank(b.dtype) - dtypeRank(a.dtype) || compareNames(a.name, b.name));

  const parts = [`"__metadata__":${metadataJson(metadata)}`];
  const placed: (TensorInfo & { begin: number })[] = [];
  let end = 0;
  for (const info of infos) {
    const begin = end;
    end += info.byteLength;
    if (!Number.isSafeInteger(end)) throw fault('SIZE_OVERFLOW', 'the tensors together are above 2^53 - 1 bytes.');
    placed.push({ ...info, begin });
    const { name, dtype, shape } = info;
    parts.push(
      `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape.join(',')}],"data_offsets":[${begin},${end}]}`,
    );
  }
  const json = Buffer.from(`{${parts.join(',')}}`);
  const headerBytes = Math.ceil(json.byteLength / 8) * 8;
  if (headerBytes > MAX_HEADER_BYTES) {
    throw fault('HEADER_TOO_LARGE', `the header would take ${headerBytes} bytes, above ${MAX_HEADER_BYTES}.`);
  }
  const head = new Uint8Array(8 + headerBytes).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(headerBytes), true);
  head.set(json, 8);

  const places = new Map(placed.map((info) => [info.name, { ...info, begin: info.begin + head.byteLength }]));
  if (places.size < placed.length) {
    const seen = new Set<string>();
    const name = placed.find((info) => seen.size === seen.add(info.name).size)!.name;
    throw fault('DUPLICATE_TENSOR', `tensor ${quote(name)} is planned twice.`, { name });
  }
  return { head, places, fileBytes: head.byteLength + end };
}

function checkPlan({ name, dtype, shape }: TensorPlan): TensorInfo {
  const say = (code: SafetensorsErrorCode, text: string) => fault(code, `tensor ${quote(name)}: ${text}`, { name });
  if (name === '__metadata__' || !name.isWellFormed()) throw say('INVALID_NAME', 'this name cannot be written.');
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) throw say('NAME_TOO_LONG', `name above ${MAX_NAME_BYTES} bytes.`);
  if (!isDtype(dtype)) throw say('UNKNOWN_DTYPE', `unknown dtype ${quote(String(dtype))}.`);
  if (shape.length > MAX_RANK) throw say('TOO_MANY_DIMENSIONS', `more than ${MAX_RANK} dimensions.`);
  if (!shape.every((dim) => Number.isSafeInteger(dim) && dim >= 0)) {
    throw say('NUMBER_FORM', 'dimensions must be non-negative integers.');
  }
  const elements = checkedProduct(shape);
  const byteLength = elements === undefined ? undefined : checkedProduct([elements, dtypeBytes(dtype)]);
  if (elements === undefined || byteLength === undefined) throw say('SIZE_OVERFLOW', 'above 2^53 - 1 bytes.');
  return { name, dtype, shape: [...shape], elements, byteLength };
}

function metadataJson(metadata: Readonly<Record<string, string>>): string {
  const all = new Map<string, string>([['format', 'pt'], ...Object.entries(metadata), ['format', 'pt']]);
  if (all.size > MAX_METADATA_KEYS) throw fault('METADATA_INVALID', `more than ${MAX_METADATA_KEYS} metadata keys.`);
  const parts: string[] = [];
  for (const [key, value] of [...all].sort(([a], [b]) => compareNames(a, b))) {
    if (typeof value !== 'string' || !value.isWellFormed() || !key.isWellFormed()) {
      throw fault('METADATA_INVALID', `metadata ${quote(key)} must be well-formed text.`, { key });
    }
    parts.push(`${JSON.stringify(key)}:${JSON.stringify(value)}`);
  }
  return `{${parts.join(',')}}`;
}

function fault(code: SafetensorsErrorCode, text: string, fields: Record<string, unknown> = {}): SafetensorsError {
  return new SafetensorsError(code, text, fields);
}
