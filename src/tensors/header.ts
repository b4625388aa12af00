/** The strict parser of a safetensors header. It refuses what the format's reference accepts by accident. */
import { isUtf8 } from 'node:buffer';
import { compareNames, type Dtype, dtypeBytes, isDtype, isUnsupportedDtype } from './dtype.ts';
import { quote, SafetensorsError, type SafetensorsErrorCode } from './errors.ts';
import { MAX_METADATA_KEYS, MAX_NAME_BYTES, MAX_RANK, MAX_TENSORS, MAX_UNKNOWN_FIELDS } from './limits.ts';
import { type JsonFault, JsonReader } from './strict-json.ts';

/** One tensor of a checkpoint. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Product of the shape; 1 for a scalar. */
  readonly elements: number;
  readonly byteLength: number;
}

export interface ParsedHeader {
  /** In code-point order of the names. `begin` counts bytes from the end of the header. */
  readonly tensors: ReadonlyMap<string, TensorInfo & { readonly begin: number }>;
  /** In code-point order of the keys; empty where the file has none. */
  readonly metadata: ReadonlyMap<string, string>;
}

export interface ParseOptions {
  /** Where the bytes come from, for messages. */
  readonly source: string;
  /** Fields of a tensor that the format does not know: refuse the file (the default) or pass over them. */
  readonly unknownFields?: 'reject' | 'ignore';
  /** Default and upper bound: MAX_TENSORS. */
  readonly maxTensors?: number;
}

type Entry = TensorInfo & { readonly begin: number; readonly end: number };

/** How a fault of the text is named where nothing more special is known. */
const FAULT_CODES: Readonly<Record<JsonFault, SafetensorsErrorCode>> = {
  syntax: 'HEADER_NOT_JSON',
  type: 'FIELD_TYPE',
  surrogate: 'LONE_SURROGATE',
  number: 'NUMBER_FORM',
  range: 'NUMBER_TOO_LARGE',
  depth: 'HEADER_TOO_DEEP',
  length: 'NAME_TOO_LONG',
};

/**
 * Parses the JSON of a header and checks that the tensors cover the data exactly. Memory: at most 16 bytes of JavaScript
 * objects for each byte of the header, whatever it says, the tables that `openCheckpoint` makes of it included
 * (tests/fuzz/heap.test.ts); no buffer beside the header's own.
 *
 * @param bytes - the header without the length field
 * @param dataBytes - bytes that follow the header in the file
 * @throws SafetensorsError
 */
export function parseHeader(bytes: Uint8Array, dataBytes: number, options: ParseOptions): ParsedHeader {
  const { source } = options;
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
    throw fault('HEADER_BOM', source, 'the header starts with a byte order mark. Write the file again without it.');
  }
  if (!isUtf8(bytes)) throw fault('HEADER_NOT_UTF8', source, 'the header is not UTF-8. The file is damaged.');

  const reader = new JsonReader(bytes, (kind, reason, offset) => {
    throw fault(FAULT_CODES[kind], source, `header, byte ${offset}: ${reason}.`, { offset, reason });
  });
  if (reader.peek() !== 'object') throw fault('HEADER_NOT_OBJECT', source, 'the header is not a JSON object.');

  const limit = Math.min(options.maxTensors ?? MAX_TENSORS, MAX_TENSORS);
  const entries = new Map<string, Entry>();
  let metadata: Map<string, string> | undefined;
  reader.object((name) => {
    if (name === '__metadata__') {
      if (metadata !== undefined) throw fault('DUPLICATE_METADATA', source, '__metadata__ occurs twice.');
      metadata = readMetadata(reader, source);
      return;
    }
    if (Buffer.byteLength(name) > MAX_NAME_BYTES) {
      throw fault('NAME_TOO_LONG', source, `tensor name ${quote(name)} is above ${MAX_NAME_BYTES} bytes.`, { name });
    }
    if (entries.has(name)) throw fault('DUPLICATE_TENSOR', source, `tensor ${quote(name)} occurs twice.`, { name });
    if (entries.size === limit) throw fault('TOO_MANY_TENSORS', source, `more than ${limit} tensors.`, { limit });
    entries.set(name, readEntry(reader, name, options));
    // An escape takes up to six bytes for one of the name.
  }, MAX_NAME_BYTES * 6);
  reader.end();

  checkCover([...entries.values()], dataBytes, source);
  return { tensors: sortedByName(entries), metadata: sortedByName(metadata ?? new Map<string, string>()) };
}

function readMetadata(reader: JsonReader, source: string): Map<string, string> {
  const metadata = new Map<string, string>();
  const kind = reader.peek();
  if (kind === 'null') {
    reader.null();
    return metadata;
  }
  const invalid = (found: string) =>
    fault('METADATA_INVALID', source, `__metadata__ must map strings to strings, found ${found}.`, { found });
  const tooMany = () =>
    fault('METADATA_INVALID', source, `__metadata__ has more than ${MAX_METADATA_KEYS} keys. Write fewer.`, {
      limit: MAX_METADATA_KEYS,
    });
  if (kind !== 'object') throw invalid(kind);
  reader.object((key) => {
    if (metadata.has(key)) {
      throw fault('DUPLICATE_METADATA_KEY', source, `__metadata__ has the key ${quote(key)} twice.`, { key });
    }
    if (metadata.size === MAX_METADATA_KEYS) throw tooMany();
    const value = reader.peek();
    if (value !== 'string') throw invalid(`${value} at ${quote(key)}`);
    metadata.set(key, reader.string());
  });
  return metadata;
}

function readEntry(reader: JsonReader, name: string, options: ParseOptions): Entry {
  const say = (code: SafetensorsErrorCode, text: string, fields: Record<string, unknown> = {}) =>
    fault(code, options.source, `tensor ${quote(name)}: ${text}`, { name, ...fields });
  const kind = reader.peek();
  if (kind !== 'object') throw say('TENSOR_NOT_OBJECT', `expected an object, found ${kind}.`);

  let dtype: Dtype | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  let others: Set<string> | undefined;
  reader.object((field) => {
    if (field === 'dtype' && dtype === undefined) {
      dtype = readDtype(reader, say);
    } else if (field === 'shape' && shape === undefined) {
      shape = readList(reader, MAX_RANK, () => say('TOO_MANY_DIMENSIONS', `more than ${MAX_RANK} dimensions.`));
    } else if (field === 'data_offsets' && offsets === undefined) {
      offsets = readList(reader, 2, () => say('OFFSET_COUNT', 'data_offsets must be two numbers.'));
    } else if (field === 'dtype' || field === 'shape' || field === 'data_offsets' || others?.has(field)) {
      throw say('DUPLICATE_FIELD', `the field ${quote(field)} occurs twice.`, { field });
    } else if (options.unknownFields === 'ignore') {
      others ??= new Set();
      if (others.size === MAX_UNKNOWN_FIELDS) {
        throw say('UNKNOWN_FIELD', `more than ${MAX_UNKNOWN_FIELDS} unknown fields.`, { limit: MAX_UNKNOWN_FIELDS });
      }
      others.add(field);
      reader.skip();
    } else {
      throw say('UNKNOWN_FIELD', `unknown field ${quote(field)}.`, { field: field.slice(0, 100) });
    }
  });
  if (dtype === undefined || shape === undefined || offsets === undefined) {
    const field = dtype === undefined ? 'dtype' : shape === undefined ? 'shape' : 'data_offsets';
    throw say('MISSING_FIELD', `the field ${field} is missing.`, { field });
  }
  const [begin, end] = offsets;
  if (begin === undefined || end === undefined) throw say('OFFSET_COUNT', 'data_offsets must be two numbers.');
  if (end < begin) throw say('OFFSET_REVERSED', `it ends at ${end}, before it begins at ${begin}.`, { begin, end });

  const elements = checkedProduct(shape);
  const byteLength = elements === undefined ? undefined : checkedProduct([elements, dtypeBytes(dtype)]);
  if (elements === undefined || byteLength === undefined) {
    throw say('SIZE_OVERFLOW', `[${shape.join(', ')}] times ${dtype} is above 2^53 - 1 bytes.`, { dtype, shape });
  }
  if (byteLength !== end - begin) {
    const text = `[${shape.join(', ')}] of ${dtype} takes ${byteLength} bytes, its range has ${end - begin}.`;
    throw say('SIZE_MISMATCH', text, { dtype, shape, begin, end });
  }
  return { name, dtype, shape, elements, byteLength, begin, end };
}

function readDtype(
  reader: JsonReader,
  say: (code: SafetensorsErrorCode, text: string, fields: Record<string, unknown>) => Error,
): Dtype {
  const text = reader.string();
  if (isDtype(text)) return text;
  if (isUnsupportedDtype(text)) {
    throw say('UNSUPPORTED_DTYPE', `kinmerge does not read ${text}. Convert it to a wider dtype.`, { dtype: text });
  }
  throw say('UNKNOWN_DTYPE', `unknown dtype ${quote(text)}.`, { dtype: text.slice(0, 100) });
}

function readList(reader: JsonReader, limit: number, tooMany: () => Error): number[] {
  const list: number[] = [];
  reader.array(() => {
    if (list.length === limit) throw tooMany();
    list.push(reader.uint());
  });
  return list;
}

/** The product as long as every step stays a safe integer, in order, as the reference multiplies. */
export function checkedProduct(factors: readonly number[]): number | undefined {
  let product = 1;
  for (const factor of factors) {
    // Both are below 2^53; a float64 product that rounds is above 2^53 and caught.
    product *= factor;
    if (!Number.isSafeInteger(product)) return undefined;
  }
  return product;
}

/** Every byte of the data belongs to exactly one tensor. */
function checkCover(entries: Entry[], dataBytes: number, source: string): void {
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let covered = 0;
  for (const { name, begin, end } of entries) {
    if (begin !== covered) {
      const hole = begin > covered;
      const text = hole ? `bytes ${covered} to ${begin} belong to none.` : `it begins at ${begin}, inside another one.`;
      throw fault(hole ? 'OFFSET_HOLE' : 'OFFSET_OVERLAP', source, `tensor ${quote(name)}: ${text}`, {
        name,
        begin,
        end,
        covered,
      });
    }
    covered = end;
  }
  if (covered > dataBytes) {
    const text = `the file is truncated: ${covered - dataBytes} of ${covered} data bytes are missing. Copy or download it again.`;
    throw fault('FILE_TRUNCATED', source, text, { expected: covered, found: dataBytes });
  }
  if (covered < dataBytes) {
    throw fault('TRAILING_BYTES', source, `${dataBytes - covered} bytes follow the last tensor.`, {
      expected: covered,
      found: dataBytes,
    });
  }
}

function sortedByName<Value>(map: ReadonlyMap<string, Value>): ReadonlyMap<string, Value> {
  const names = [...map.keys()];
  // Files are usually in order already, and then the table is not built twice.
  if (names.every((name, i) => i === 0 || compareNames(names[i - 1]!, name) < 0)) return map;
  return new Map(names.sort(compareNames).map((name) => [name, map.get(name)!]));
}

function fault(code: SafetensorsErrorCode, source: string, text: string, fields: Record<string, unknown> = {}) {
  return new SafetensorsError(code, `${source}: ${text}`, { source, ...fields });
}
