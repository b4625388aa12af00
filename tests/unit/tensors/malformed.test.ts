import { truncate } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import {
  MAX_HEADER_BYTES,
  MAX_JSON_DEPTH,
  MAX_NAME_BYTES,
  MAX_RANK,
  openCheckpoint,
  parseHeader,
  SafetensorsError,
  type SafetensorsErrorCode,
} from '../../../src/tensors/index.ts';
import { entry, failure, fileBytes, tempFile } from './files.ts';

const A = entry('a', 'F32', [2], 0, 8);
const one = (fields: string) => fileBytes(`{"a":{${fields}}}`, 8);
const shaped = (shape: string, offsets = '[0,8]') => one(`"dtype":"F32","shape":${shape},"data_offsets":${offsets}`);
const head = (text: string, data = 8) => fileBytes(text, data);

const many = (dtype: string, begin: number, end: number) =>
  Array.from({ length: 1000 }, (_, i) => entry(`t${i}`, dtype, [2], begin, end)).join();

const cases: readonly (readonly [what: string, code: SafetensorsErrorCode, bytes: Uint8Array])[] = [
  ['an empty file', 'FILE_TOO_SMALL', new Uint8Array(0)],
  ['7 bytes', 'FILE_TOO_SMALL', new Uint8Array(7)],
  ['8 zero bytes', 'HEADER_EMPTY', new Uint8Array(8)],
  ['a length field only', 'HEADER_TRUNCATED', fileBytes('', 0, 2n)],
  ['a header of 1000 bytes in a tiny file', 'HEADER_TRUNCATED', fileBytes(`{${A}}`, 8, 1000n)],
  ['a huge length', 'HEADER_TOO_LARGE', Buffer.from('3c00000000ffffff', 'hex')],
  ['length 2^64 - 1', 'HEADER_TOO_LARGE', fileBytes('{}', 0, 2n ** 64n - 1n)],
  ['length 100,000,001', 'HEADER_TOO_LARGE', fileBytes('{}', 0, 100_000_001n)],
  ['header byte 0xff', 'HEADER_NOT_UTF8', fileBytes(Uint8Array.of(0xff))],
  ['a surrogate encoded as UTF-8', 'HEADER_NOT_UTF8', fileBytes(Buffer.from('7b22eda08022', 'hex'))],
  ['{ alone', 'HEADER_NOT_JSON', head('{')],
  ['a trailing comma', 'HEADER_NOT_JSON', head(`{${A},}`)],
  ['a missing comma', 'HEADER_NOT_JSON', head(`{${A} ${entry('b', 'F32', [0], 8, 8)}}`)],
  ['a missing colon', 'HEADER_NOT_JSON', head('{"a" 1}')],
  ['a key without quotes', 'HEADER_NOT_JSON', head('{a:1}')],
  ['NUL padding', 'HEADER_NOT_JSON', head(`{${A}}\0\0`)],
  ['a second object', 'HEADER_NOT_JSON', head(`{${A}}{}`)],
  ['white space only', 'HEADER_NOT_JSON', head('    ')],
  ['a control character in a name', 'HEADER_NOT_JSON', head(`{${A.replace('a', '\n')}}`)],
  ['an unknown escape', 'HEADER_NOT_JSON', head(`{${A.replace('a', '\\x')}}`)],
  ['a cut escape', 'HEADER_NOT_JSON', head('{"\\u00')],
  ['an escape without digits', 'HEADER_NOT_JSON', head(`{${A.replace('a', '\\u00g0')}}`)],
  ['an escape at the end', 'HEADER_NOT_JSON', head('{"a\\')],
  ['a name without end', 'HEADER_NOT_JSON', head('{"a')],
  ['a key without a value', 'HEADER_NOT_JSON', head('{"a":}')],
  ['a word that JSON has not', 'HEADER_NOT_JSON', head('{"__metadata__":nul}')],
  ['a lone minus', 'HEADER_NOT_JSON', shaped('[-]')],
  ['a number that ends with its point', 'HEADER_NOT_JSON', shaped('[2.]')],
  ['an exponent without digits', 'HEADER_NOT_JSON', shaped('[2e]')],
  ['a list without end', 'HEADER_NOT_JSON', head('{"a":{"shape":[2')],
  ['a leading zero', 'HEADER_NOT_JSON', shaped('[02]')],
  ['an array', 'HEADER_NOT_OBJECT', head('[]')],
  ['null', 'HEADER_NOT_OBJECT', head('null')],
  ['nesting 5000 deep from the start', 'HEADER_NOT_OBJECT', head('['.repeat(5000))],
  ['nesting 5000 deep in a tensor', 'TENSOR_NOT_OBJECT', head(`{"a":${'['.repeat(5000)}`)],
  ['nesting 5000 deep in objects', 'UNKNOWN_FIELD', head('{"a":'.repeat(5000))],
  ['a byte order mark', 'HEADER_BOM', head(`\ufeff{${A}}`)],
  ['a lone high surrogate', 'LONE_SURROGATE', head(`{${A.replace('a', '\\ud800')}}`)],
  ['a lone low surrogate', 'LONE_SURROGATE', head(`{${A.replace('a', '\\udc00')}}`)],
  ['a high surrogate before another escape', 'LONE_SURROGATE', head(`{${A.replace('a', '\\ud800\\u0041')}}`)],
  ['half of a pair in metadata', 'LONE_SURROGATE', head(`{"__metadata__":{"k":"\\udfff"},${A}}`)],
  ['two high surrogates', 'LONE_SURROGATE', head(`{${A.replace('a', '\\ud800\\ud800')}}`)],
  ['trailing junk', 'TRAILING_BYTES', fileBytes(`{${A}}`, 9)],
  ['data without tensors', 'TRAILING_BYTES', fileBytes('{}', 1)],
  ['2 bytes short', 'FILE_TRUNCATED', fileBytes(`{${A}}`, 6)],
  ['two tensors on one range', 'OFFSET_OVERLAP', head(`{${A},${entry('b', 'F32', [2], 0, 8)}}`)],
  ['many tensors on one range', 'OFFSET_OVERLAP', head(`{${many('F32', 0, 8)}}`)],
  ['a partial overlap', 'OFFSET_OVERLAP', head(`{${A},${entry('b', 'F32', [2], 4, 12)}}`, 12)],
  ['a hole at the start', 'OFFSET_HOLE', head(`{${entry('a', 'F32', [2], 4, 12)}}`, 12)],
  ['a hole between', 'OFFSET_HOLE', head(`{${A},${entry('b', 'F32', [1], 12, 16)}}`, 16)],
  ['end before begin', 'OFFSET_REVERSED', shaped('[2]', '[8,0]')],
  ['a shape that does not fit the range', 'SIZE_MISMATCH', shaped('[3]')],
  ['8-bit floats that do not fit the range', 'SIZE_MISMATCH', head(`{${entry('a', 'F8_E4M3', [7], 0, 8)}}`)],
  ['a scalar that does not fit the range', 'SIZE_MISMATCH', head(`{${entry('a', 'F8_E5M2', [], 0, 8)}}`)],
  ['a dtype that does not fit the range', 'SIZE_MISMATCH', head(`{${entry('a', 'F16', [2], 0, 8)}}`)],
  ['a product of dimensions above 2^53', 'SIZE_OVERFLOW', shaped('[4294967296,4294967296]')],
  ['a product that comes back to zero', 'SIZE_OVERFLOW', shaped('[4294967296,4294967296,0]')],
  ['a byte size above 2^53', 'SIZE_OVERFLOW', shaped('[9007199254740991]')],
  ['a negative dimension', 'NUMBER_FORM', shaped('[-2]')],
  ['a dimension of minus zero', 'NUMBER_FORM', shaped('[-0]')],
  ['a dimension 2.0', 'NUMBER_FORM', shaped('[2.0]')],
  ['a dimension 2e0', 'NUMBER_FORM', shaped('[2e0]')],
  ['a negative offset', 'NUMBER_FORM', shaped('[2]', '[-8,0]')],
  ['an offset 8.0', 'NUMBER_FORM', shaped('[2]', '[0,8.0]')],
  ['an offset 1e0', 'NUMBER_FORM', shaped('[2]', '[1e0,8]')],
  ['an offset in quotes', 'FIELD_TYPE', shaped('[2]', '["0",8]')],
  ['an offset null', 'FIELD_TYPE', shaped('[2]', '[null,8]')],
  ['a dimension in quotes', 'FIELD_TYPE', shaped('["2"]')],
  ['a dimension null', 'FIELD_TYPE', shaped('[null]')],
  ['a shape that is a number', 'FIELD_TYPE', shaped('2')],
  ['offsets that are an object', 'FIELD_TYPE', shaped('[2]', '{}')],
  ['a dtype that is null', 'FIELD_TYPE', one('"dtype":null,"shape":[2],"data_offsets":[0,8]')],
  ['a shape that is null', 'FIELD_TYPE', shaped('null')],
  ['offsets that are null', 'FIELD_TYPE', shaped('[2]', 'null')],
  ['a dimension that is a list', 'FIELD_TYPE', shaped('[[2]]')],
  ['a dimension that is true', 'FIELD_TYPE', shaped('[true]')],
  ['a dtype that is a number', 'FIELD_TYPE', one('"dtype":4,"shape":[2],"data_offsets":[0,8]')],
  ['a dimension 2^64', 'NUMBER_TOO_LARGE', shaped('[18446744073709551616]')],
  ['an offset 2^53', 'NUMBER_TOO_LARGE', shaped('[2]', '[0,9007199254740992]')],
  ['a dimension 2^53', 'NUMBER_TOO_LARGE', shaped('[9007199254740992]')],
  ['a number of 500 digits', 'NUMBER_TOO_LARGE', shaped(`[${'1'.repeat(500)}]`)],
  ['one offset', 'OFFSET_COUNT', shaped('[2]', '[0]')],
  ['no offset', 'OFFSET_COUNT', shaped('[2]', '[]')],
  ['three offsets', 'OFFSET_COUNT', shaped('[2]', '[0,8,8]')],
  ['no dtype', 'MISSING_FIELD', one('"shape":[2],"data_offsets":[0,8]')],
  ['no shape', 'MISSING_FIELD', one('"dtype":"F32","data_offsets":[0,8]')],
  ['no data_offsets', 'MISSING_FIELD', one('"dtype":"F32","shape":[2]')],
  ['a tensor that is null', 'TENSOR_NOT_OBJECT', head('{"a":null}')],
  ['a tensor that is a list', 'TENSOR_NOT_OBJECT', head('{"a":[]}')],
  ['a tensor that is text', 'TENSOR_NOT_OBJECT', head('{"a":"F32"}')],
  ['a range that begins beyond the file', 'OFFSET_HOLE', shaped('[2]', '[8,16]')],
  ['a range that ends beyond the file', 'FILE_TRUNCATED', shaped('[4]', '[0,16]')],
  ['dtype F128', 'UNKNOWN_DTYPE', head(`{${entry('a', 'F128', [2], 0, 8)}}`)],
  ['dtype f32 in lower case', 'UNKNOWN_DTYPE', head(`{${entry('a', 'f32', [2], 0, 8)}}`)],
  ['dtype F4 with an odd count', 'UNSUPPORTED_DTYPE', head(`{${entry('a', 'F4', [15], 0, 8)}}`)],
  ['dtype F6_E2M3', 'UNSUPPORTED_DTYPE', head(`{${entry('a', 'F6_E2M3', [8], 0, 6)}}`, 6)],
  ['dtype F6_E3M2', 'UNSUPPORTED_DTYPE', head(`{${entry('a', 'F6_E3M2', [8], 0, 6)}}`, 6)],
  ['dtype F8_E8M0', 'UNSUPPORTED_DTYPE', head(`{${entry('a', 'F8_E8M0', [8], 0, 8)}}`)],
  ['dtype F8_E4M3FNUZ', 'UNSUPPORTED_DTYPE', head(`{${entry('a', 'F8_E4M3FNUZ', [8], 0, 8)}}`)],
  ['dtype F8_E5M2FNUZ', 'UNSUPPORTED_DTYPE', head(`{${entry('a', 'F8_E5M2FNUZ', [8], 0, 8)}}`)],
  ['dtype C64', 'UNSUPPORTED_DTYPE', head(`{${entry('a', 'C64', [1], 0, 8)}}`)],
  ['metadata that is a number', 'METADATA_INVALID', head(`{"__metadata__":1,${A}}`)],
  ['metadata that is a string', 'METADATA_INVALID', head(`{"__metadata__":"x",${A}}`)],
  ['metadata that is true', 'METADATA_INVALID', head(`{"__metadata__":true,${A}}`)],
  ['metadata with a number', 'METADATA_INVALID', head(`{"__metadata__":{"x":1},${A}}`)],
  ['metadata with null', 'METADATA_INVALID', head(`{"__metadata__":{"x":null},${A}}`)],
  ['metadata that is a list', 'METADATA_INVALID', head(`{"__metadata__":[],${A}}`)],
  ['nested metadata', 'METADATA_INVALID', head(`{"__metadata__":{"x":{}},${A}}`)],
  ['two times dtype', 'DUPLICATE_FIELD', one('"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]')],
  ['two times null as metadata', 'DUPLICATE_METADATA', head(`{"__metadata__":null,${A},"__metadata__":null}`)],
  ['dtype again with an escape', 'DUPLICATE_FIELD', one('"dtype":"F32","d\\u0074ype":"F32"')],
  ['two times shape', 'DUPLICATE_FIELD', one('"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]')],
  ['two times data_offsets', 'DUPLICATE_FIELD', one('"dtype":"F32","data_offsets":[0,8],"data_offsets":[0,8]')],
  ['two times __metadata__', 'DUPLICATE_METADATA', head(`{"__metadata__":{},${A},"__metadata__":{}}`)],
  ['two times a key in metadata', 'DUPLICATE_METADATA_KEY', head(`{"__metadata__":{"k":"1","k":"2"},${A}}`)],
  ['a name twice, two ranges', 'DUPLICATE_TENSOR', head(`{${A},${entry('a', 'F32', [2], 8, 16)}}`, 16)],
  ['a name twice, the last covers all', 'DUPLICATE_TENSOR', head(`{${entry('a', 'F32', [1], 0, 4)},${A}}`)],
  ['a name twice, identical', 'DUPLICATE_TENSOR', head(`{${A},${A}}`)],
  ['a name twice, once escaped', 'DUPLICATE_TENSOR', head(`{${A},${A.replace('a', '\\u0061')}}`)],
  ['an unknown field', 'UNKNOWN_FIELD', one('"dtype":"F32","shape":[2],"data_offsets":[0,8],"extra":1')],
  ['a long name', 'NAME_TOO_LONG', head(`{${A.replace('a', 'n'.repeat(MAX_NAME_BYTES + 1))}}`)],
  ['a very long name', 'NAME_TOO_LONG', head(`{${A.replace('a', 'n'.repeat(MAX_NAME_BYTES * 10))}}`)],
  ['many dimensions', 'TOO_MANY_DIMENSIONS', shaped(`[2${',1'.repeat(MAX_RANK)}]`)],
];

describe('a malformed safetensors file is refused', () => {
  test.each(cases)('%s: %s', async (_what, code, bytes) => {
    const path = await tempFile(bytes);
    const error = await failure(() => openCheckpoint(path));
    expect(error).toBeInstanceOf(SafetensorsError);
    expect(error.code).toBe(code);
    expect(error.fields.source).toBe(path);
    expect(error.message).toContain(path);
    expect(error.message.length).toBeLessThan(path.length + 400);
  });

  test('a header above the cap is refused before anything is read or allocated', async () => {
    // A sparse file that is really as large as it says.
    const path = await tempFile(fileBytes('', 0, BigInt(MAX_HEADER_BYTES + 1)));
    await truncate(path, 8 + MAX_HEADER_BYTES + 1);
    const before = process.memoryUsage().arrayBuffers;
    expect((await failure(() => openCheckpoint(path))).code).toBe('HEADER_TOO_LARGE');
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(MAX_HEADER_BYTES / 10);
  });

  test('too many tensors', async () => {
    const header = Buffer.from(`{${A},${entry('b', 'U8', [0], 8, 8)},${entry('c', 'U8', [0], 8, 8)}}`);
    const parse = (maxTensors: number) => parseHeader(header, 8, { source: 'x', maxTensors });
    expect(parse(3).tensors.size).toBe(3);
    expect((await failure(() => parse(2))).code).toBe('TOO_MANY_TENSORS');
  });

  test('a name is shown without control or direction characters', async () => {
    const path = await tempFile(head(`{${A.replace('a', '\\u001b[31m\u202eevil')},"b":0}`));
    const error = await failure(() => openCheckpoint(path));
    expect(error.code).toBe('TENSOR_NOT_OBJECT');
    const twice = await tempFile(head(`{${A.replace('a', '\\u001b\u202e')},${A.replace('a', '\\u001b\u202e')}}`));
    const message = (await failure(() => openCheckpoint(twice))).message;
    expect(message).toContain('"\\u{1b}\\u{202e}"');
  });
});

describe('unknown fields', () => {
  const withField = (value: string) => one(`"dtype":"F32","shape":[2],"x":${value},"data_offsets":[0,8]`);

  test('are passed over when asked', async () => {
    const path = await tempFile(withField('{"deep":[1.5e3,true,false,null,"s",{}]}'));
    const checkpoint = await openCheckpoint(path, { unknownFields: 'ignore' });
    expect([...checkpoint.tensors.keys()]).toEqual(['a']);
    await checkpoint.close();
  });

  test('may not occur twice all the same', async () => {
    const path = await tempFile(one('"x":1,"dtype":"F32","shape":[2],"x":1,"data_offsets":[0,8]'));
    expect((await failure(() => openCheckpoint(path, { unknownFields: 'ignore' }))).code).toBe('DUPLICATE_FIELD');
  });

  test('may not nest without bound', async () => {
    const nested = (depth: number) => withField('['.repeat(depth) + ']'.repeat(depth));
    const fits = await openCheckpoint(await tempFile(nested(MAX_JSON_DEPTH + 1)), { unknownFields: 'ignore' });
    await fits.close();
    const path = await tempFile(nested(MAX_JSON_DEPTH + 2));
    expect((await failure(() => openCheckpoint(path, { unknownFields: 'ignore' }))).code).toBe('HEADER_TOO_DEEP');
  });
});

describe('an unusual but sound file is accepted', () => {
  const names = async (bytes: Uint8Array) => {
    const checkpoint = await openCheckpoint(await tempFile(bytes));
    const found = [...checkpoint.tensors.keys()];
    await checkpoint.close();
    return found;
  };

  test.each([
    ['no tensors', head('{}', 0), []],
    [
      'white space around',
      head(` \t\r\n{ ${A} , "b" : {"shape":[ ],"dtype":"U8","data_offsets":[8,9]} }\n `, 9),
      ['a', 'b'],
    ],
    ['a tensor of size zero', head(`{${entry('z', 'F32', [0], 8, 8)},${A}}`), ['a', 'z']],
    ['a zero dimension before a huge one', head(`{${entry('z', 'F32', [0, 2 ** 53 - 1], 0, 0)}}`, 0), ['z']],
    ['a header of a length that is no multiple of 8', head(`{${A}} `), ['a']],
    [
      '8-bit floats of both kinds',
      head(`{${entry('a', 'F8_E4M3', [3], 0, 3)},${entry('b', 'F8_E5M2', [5], 3, 8)}}`),
      ['a', 'b'],
    ],
    ['a scalar', head(`{${entry('s', 'F64', [], 0, 8)}}`), ['s']],
    ['metadata null', head(`{"__metadata__":null,${A}}`), ['a']],
    ['empty metadata', head(`{"__metadata__":{},${A}}`), ['a']],
    ['an empty name', head(`{${A.replace('a', '')}}`), ['']],
    ['a path as a name', head(`{${A.replace('a', '../../x')}}`), ['../../x']],
    ['NUL in a name', head(`{${A.replace('a', '\\u0000')}}`), ['\0']],
    [
      '__proto__ and constructor',
      head(`{${entry('__proto__', 'F32', [1], 0, 4)},${entry('constructor', 'F32', [1], 4, 8)}}`),
      ['__proto__', 'constructor'],
    ],
    ['an escaped pair', head(`{${A.replace('a', '\\ud83d\\ude00')}}`), ['😀']],
    [
      'a long name',
      head(`{${A.replace('a', '\\u00e9'.repeat(MAX_NAME_BYTES / 2))}}`),
      ['é'.repeat(MAX_NAME_BYTES / 2)],
    ],
    ['many dimensions', shaped(`[2${',1'.repeat(MAX_RANK - 1)}]`), ['a']],
    [
      'names out of order, like integers',
      head(`{${entry('10', 'F32', [1], 4, 8)},${entry('9', 'F32', [1], 0, 4)}}`),
      ['10', '9'],
    ],
    [
      'names whose UTF-16 order is another',
      head(`{${entry('😀', 'F32', [1], 4, 8)},${entry('\uff5e', 'F32', [1], 0, 4)}}`),
      ['\uff5e', '😀'],
    ],
  ])('%s', async (_what, bytes, expected) => {
    expect(await names(bytes)).toEqual(expected);
  });

  test('nothing leaks into object prototypes', async () => {
    await names(head(`{"__metadata__":{"__proto__":"x"},${A.replace('a', '__proto__')}}`));
    expect(({} as Record<string, unknown>).dtype).toBeUndefined();
  });
});
