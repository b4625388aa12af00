/**
 * Reads hostile input in a process whose heap is limited from outside (heap.test.ts): what keeps more than its bound
 * ends the process. Prints one line for each input. Arguments: bytes of a header.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkPayload, MAX_TABLE_TENSORS, type TensorTable } from '../../../src/codec/index.ts';
import { KinmergeError } from '../../../src/errors.ts';
import { MAX_ADAPTER_CONFIG_BYTES, openCheckpoint, parseLoraConfig } from '../../../src/tensors/index.ts';
import { parseShardIndex } from '../../../src/tensors/shard-index.ts';

const headerBytes = Number(process.argv[2]);

/** Text of about so many bytes: one piece after another between two ends. */
function filled(bytes: number, open: string, piece: (i: number) => string, separator: string, close: string): Buffer {
  const out = Buffer.alloc(bytes);
  let at = out.write(open);
  for (let i = 0; ; i++) {
    const next = (i === 0 ? '' : separator) + piece(i);
    if (at + next.length + close.length > bytes) break;
    at += out.write(next, at, 'latin1');
  }
  return out.subarray(0, at + out.write(close, at));
}

const name = (i: number) => `"${i.toString(36)}"`;
const empty = '"dtype":"U8","shape":[0],"data_offsets":[0,0]';

/** Headers that say as much as they can with few bytes. */
const headers: Record<string, () => Buffer> = {
  'tensors without elements': () => filled(headerBytes, '{', (i) => `${name(i)}:{${empty}}`, ',', '}'),
  'tensors in descending order': () => filled(headerBytes, '{', (i) => `${name(10 ** 6 - i)}:{${empty}}`, ',', '}'),
  'many dimensions': () =>
    filled(headerBytes, '{', (i) => `${name(i)}:{${empty.replace('[0]', `[0${',0'.repeat(63)}]`)}}`, ',', '}'),
  'metadata of many keys': () => filled(headerBytes, '{"__metadata__":{', (i) => `${name(i)}:""`, ',', '}}'),
  'metadata of escapes': () => filled(headerBytes, '{"__metadata__":{"a":"', () => '\\n', '', '"}}'),
  'metadata of wide characters': () => filled(headerBytes, '{"__metadata__":{"a":"€\\n', () => 'a', '', '"}}'),
  'unknown fields': () => filled(headerBytes, `{"a":{${empty},`, (i) => `${name(i)}:0`, ',', '}}'),
  'an unknown list': () => filled(headerBytes, `{"a":{${empty},"x":[`, () => '0', ',', ']}}'),
  'an unknown text': () => filled(headerBytes, `{"a":{${empty},"x":"`, () => '\\n', '', '"}}'),
};

const indexes: Record<string, () => Buffer> = {
  'an index of many tensors': () =>
    filled(headerBytes, '{"weight_map":{', (i) => `${name(i)}:"a.safetensors"`, ',', '}}'),
  'an index of many keys': () => filled(headerBytes, '{"weight_map":{},', (i) => `${name(i)}:0`, ',', '}'),
};

const dir = await mkdtemp(join(tmpdir(), 'kinmerge-heap-'));
try {
  for (const [what, make] of Object.entries(headers)) {
    const path = join(dir, 'x.safetensors');
    const length = Buffer.alloc(8);
    const header = make();
    length.writeBigUInt64LE(BigInt(header.length));
    await writeFile(path, Buffer.concat([length, header]));
    await report(what, async () => {
      const checkpoint = await openCheckpoint(path, { unknownFields: 'ignore' });
      await checkpoint.close();
      return checkpoint.tensors.size;
    });
  }
  for (const [what, make] of Object.entries(indexes)) {
    await report(what, () => parseShardIndex(make(), 'x').weightMap.size);
  }
  const config = filled(
    MAX_ADAPTER_CONFIG_BYTES,
    '{"peft_type":"LORA","rank_pattern":{',
    (i) => `${name(i)}:1`,
    ',',
    '}}',
  );
  await report('an adapter of many patterns', () => parseLoraConfig(config, 'x').rank);
  await report('a payload of as many sections as a table may have', sections);
} finally {
  await rm(dir, { recursive: true, force: true });
}

async function report(what: string, work: () => Promise<number> | number): Promise<void> {
  let result: number | string;
  try {
    result = await work();
  } catch (error) {
    if (!(error instanceof KinmergeError)) throw error;
    result = error.code;
  }
  process.stdout.write(`${JSON.stringify({ what, result })}\n`);
}

/** One entry in each of 65,536 tensors, and a scale of its own for each. */
async function sections(): Promise<number> {
  const table: TensorTable = Array.from({ length: MAX_TABLE_TENSORS }, (_, i) => ({
    name: String(i).padStart(5, '0'),
    shape: [1],
    elements: 1,
  }));
  const bytes = [...Buffer.from('KMTV'), 1, 1, 0, 0, 1, 0];
  for (let i = 0; i < MAX_TABLE_TENSORS; i++) {
    if (i >= 16_384) bytes.push((i & 127) | 128, ((i >> 7) & 127) | 128, i >> 14);
    else if (i >= 128) bytes.push((i & 127) | 128, i >> 7);
    else bytes.push(i);
    bytes.push(1, 0, 1, 0, 0, 0, i === 0 ? 63 : 64, 1, 0b1000_0000);
  }
  return (await checkPayload(Uint8Array.from(bytes), table)).nnz;
}
