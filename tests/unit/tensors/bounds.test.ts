/** Counts that the bytes of a file would let grow without use: each at its limit, and one beyond. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  createSafetensors,
  MAX_ADAPTER_KEYS,
  MAX_ADAPTER_PATTERNS,
  MAX_INDEX_KEYS,
  MAX_METADATA_KEYS,
  MAX_UNKNOWN_FIELDS,
  openCheckpoint,
  parseHeader,
  parseLoraConfig,
} from '../../../src/tensors/index.ts';
import { parseShardIndex } from '../../../src/tensors/shard-index.ts';
import { failure, tempDir } from './files.ts';

/** So many members `"k0":value`. */
const members = (count: number, value: string) => Array.from({ length: count }, (_, i) => `"k${i}":${value}`).join();
const bytes = (text: string) => Buffer.from(text);

describe('a safetensors header', () => {
  const withMetadata = (keys: number) =>
    parseHeader(bytes(`{"__metadata__":{${members(keys, '""')}}}`), 0, { source: 'x' });
  const withFields = (fields: number) =>
    parseHeader(bytes(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],${members(fields, '[]')}}}`), 0, {
      source: 'x',
      unknownFields: 'ignore',
    });

  test('has a bounded number of metadata keys', async () => {
    expect(withMetadata(MAX_METADATA_KEYS).metadata.size).toBe(MAX_METADATA_KEYS);
    expect((await failure(() => withMetadata(MAX_METADATA_KEYS + 1))).code).toBe('METADATA_INVALID');
  });

  test('is not written with more metadata keys than are read', async () => {
    const path = join(await tempDir(), 'x.safetensors');
    const metadata = (keys: number) =>
      Object.fromEntries(Array.from({ length: keys }, (_, i): [string, string] => [`k${i}`, '']));
    // `format` is one more.
    const writer = await createSafetensors(path, [], { metadata: metadata(MAX_METADATA_KEYS - 1) });
    await writer.commit();
    const checkpoint = await openCheckpoint(path);
    expect(checkpoint.metadata.size).toBe(MAX_METADATA_KEYS);
    await checkpoint.close();
    const error = await failure(() => createSafetensors(path, [], { metadata: metadata(MAX_METADATA_KEYS) }));
    expect(error.code).toBe('METADATA_INVALID');
  });

  test('has a bounded number of unknown fields in a tensor, where these are passed over', async () => {
    expect([...withFields(MAX_UNKNOWN_FIELDS).tensors.keys()]).toEqual(['a']);
    expect((await failure(() => withFields(MAX_UNKNOWN_FIELDS + 1))).code).toBe('UNKNOWN_FIELD');
  });
});

test('a shard index has a bounded number of keys', async () => {
  const parse = (keys: number) => parseShardIndex(bytes(`{"weight_map":{},${members(keys - 1, '0')}}`), 'x');
  expect(parse(MAX_INDEX_KEYS).weightMap.size).toBe(0);
  expect((await failure(() => parse(MAX_INDEX_KEYS + 1))).code).toBe('INDEX_INVALID');
});

describe('an adapter’s configuration', () => {
  const withKeys = (keys: number) => parseLoraConfig(bytes(`{"peft_type":"LORA",${members(keys - 1, '0')}}`), 'x');
  const withPatterns = (key: string, patterns: number) =>
    parseLoraConfig(bytes(`{"peft_type":"LORA","${key}":{${members(patterns, '3')}}}`), 'x');

  test('has a bounded number of keys', async () => {
    expect(withKeys(MAX_ADAPTER_KEYS).rank).toBe(8);
    expect((await failure(() => withKeys(MAX_ADAPTER_KEYS + 1))).code).toBe('ADAPTER_CONFIG_INVALID');
  });

  test.each(['rank_pattern', 'alpha_pattern'])('has a bounded number of modules in %s', async (key) => {
    const { ranks, alphas } = withPatterns(key, MAX_ADAPTER_PATTERNS);
    const last = `k${MAX_ADAPTER_PATTERNS - 1}`;
    expect(ranks.get(last) ?? alphas.get(last)).toBe(3);
    const error = await failure(() => withPatterns(key, MAX_ADAPTER_PATTERNS + 1));
    expect(error.code).toBe('ADAPTER_CONFIG_INVALID');
  });
});

describe('text with escapes', () => {
  const metadataOf = (json: string) => parseHeader(bytes(`{"__metadata__":${json}}`), 0, { source: 'x' }).metadata;

  test.each(['\\"\\\\\\/\\b\\f\\n\\r\\t', '\\u0000\\u00e9\\uFFFF', '\\ud83d\\ude00', 'a\\u0061€😀\\\\n'])(
    'is what JSON says: %s',
    (text) => {
      expect([...metadataOf(`{"${text}":"${text}"}`)]).toEqual([[JSON.parse(`"${text}"`), JSON.parse(`"${text}"`)]]);
    },
  );

  test('is read whole, however many escapes it has', () => {
    expect(metadataOf(`{"k":"${'\\n'.repeat(2 ** 20)}"}`).get('k')).toBe('\n'.repeat(2 ** 20));
  });
});
