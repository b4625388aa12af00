import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as dagCbor from '@ipld/dag-cbor';
import { describe, expect, test } from 'vitest';
import {
  checkPayload,
  encodeTaskVector,
  encodeTernarySync,
  MAX_TENSOR_ELEMENTS,
  openContainer,
  writeContainer,
} from '../../../src/codec/index.ts';
import { MAX_CONTAINER_HEADER_BYTES, MAX_DIMENSIONS, MAX_NAME_BYTES } from '../../../src/codec/limits.ts';
import { decodeAll, failure, MemorySource, temporaryDirectory, ternary } from './support.ts';

const encoder = { mode: 'global', density: 0.2, scaleUnit: 'deviation', scaleFactor: 4 } as const;
const table = [
  { name: 'a.weight', shape: [3, 2], elements: 6 },
  { name: 'b', shape: [], elements: 1 },
];
const payload = encodeTernarySync(table, [ternary(0, [1, 0, 0, -1, 0, 0]), ternary(1, [1])]);
const header = {
  version: 1,
  encoder,
  tensors: [
    { name: 'a.weight', shape: [3, 2] },
    { name: 'b', shape: [] as number[] },
  ],
};

function container(
  head: unknown,
  body: Uint8Array = payload,
  change: (h: Uint8Array) => Uint8Array = (h) => h,
): Uint8Array {
  const encoded = change(dagCbor.encode(head));
  const length = new Uint8Array(Uint32Array.of(encoded.length).buffer);
  return Buffer.concat([Buffer.from('KMTC'), length, encoded, body]);
}

describe('containers', () => {
  test('carry table, parameters and the payload unchanged', async () => {
    const directory = await temporaryDirectory();
    const path = join(directory, 'update.kmt');
    await writeContainer(path, { table, encoder, payload });
    expect(new Uint8Array(await readFile(path))).toEqual(new Uint8Array(container(header)));
    for (const source of [path, new Uint8Array(await readFile(path))]) {
      const opened = await openContainer(source);
      expect(opened.table).toEqual(table);
      expect(opened.encoder).toEqual(encoder);
      expect(opened.payload.sections.map((s) => s.index)).toEqual([0, 1]);
      expect(await opened.payload.tensor(1)).toEqual(ternary(1, [1]));
      expect(await opened.check()).toEqual(await checkPayload(payload, table));
      const chunks: Uint8Array[] = [];
      for await (const chunk of opened.payloadChunks()) chunks.push(chunk);
      expect(new Uint8Array(Buffer.concat(chunks))).toEqual(payload);
      await opened.close();
    }
    expect(await readdir(directory)).toEqual(['update.kmt']);
  });

  test('the encoder writes the same file directly', async () => {
    const directory = await temporaryDirectory();
    const [direct, bare, wrapped] = ['direct', 'bare', 'wrapped'].map((name) => join(directory, name)) as [
      string,
      string,
      string,
    ];
    const finetune = new MemorySource([
      ['w', { shape: [2, 4], values: Float32Array.of(1, -2, 3, 0, 0.5, 6, -7, 0.1) }],
    ]);
    for (const mode of ['global', 'tensor'] as const) {
      const input = { base: finetune.zeros(), finetune, table: finetune.table(), ...encoder, density: 0.5, mode };
      const report = await encodeTaskVector({ ...input, container: true }, direct);
      expect(await encodeTaskVector(input, bare)).toEqual(report);
      await writeContainer(wrapped, {
        table: input.table,
        encoder: { mode, density: 0.5, scaleUnit: 'deviation', scaleFactor: 4 },
        payload: bare,
      });
      expect(await readFile(direct)).toEqual(await readFile(wrapped));
      const opened = await openContainer(direct);
      expect(await opened.payload.tensor(0)).toEqual((await decodeAll(bare, input.table))[0]);
      await opened.close();
    }
  });

  test('are not written around a damaged payload, and nothing is left', async () => {
    const directory = await temporaryDirectory();
    const damaged = payload.slice();
    damaged[damaged.length - 1]! |= 1;
    const path = join(directory, 'x');
    const error = await failure(writeContainer(path, { table, encoder, payload: damaged }));
    expect(error.code).toBe('BAD_PADDING');
    expect(await readdir(directory)).toEqual([]);
  });

  test('hold at the limits', async () => {
    const name = 'n'.repeat(MAX_NAME_BYTES);
    const shape = new Array<number>(MAX_DIMENSIONS).fill(1);
    await openContainer(container({ ...header, tensors: [{ name, shape }] }, encodeTernarySync([], [])));
    const [most] = [{ name: 'a', shape: [MAX_TENSOR_ELEMENTS] }];
    await openContainer(container({ ...header, tensors: [most] }, encodeTernarySync([], [])));
  });

  const { version: _, ...withoutVersion } = header;
  test.each<[string, Uint8Array, string]>([
    ['nothing', new Uint8Array(0), 'BAD_CONTAINER_MAGIC'],
    ['a bare payload', payload, 'BAD_CONTAINER_MAGIC'],
    ['a header longer than the file', container(header).subarray(0, 40), 'BAD_CONTAINER_HEADER'],
    [
      'a header above the limit',
      Buffer.concat([Buffer.from('KMTC'), new Uint8Array(Uint32Array.of(MAX_CONTAINER_HEADER_BYTES + 1).buffer)]),
      'BAD_CONTAINER_HEADER',
    ],
    ['version 2', container({ ...header, version: 2 }), 'UNSUPPORTED_CONTAINER_VERSION'],
    ['no version', container(withoutVersion), 'BAD_CONTAINER_HEADER'],
    ['a version that is no number', container({ ...header, version: '1' }), 'BAD_CONTAINER_HEADER'],
    ['another key', container({ ...header, more: 1 }), 'BAD_CONTAINER_HEADER'],
    ['another key of the encoder', container({ ...header, encoder: { ...encoder, x: 1 } }), 'BAD_CONTAINER_HEADER'],
    ['another mode', container({ ...header, encoder: { ...encoder, mode: 'x' } }), 'BAD_CONTAINER_HEADER'],
    ['density 0', container({ ...header, encoder: { ...encoder, density: 0 } }), 'BAD_CONTAINER_HEADER'],
    ['another scale unit', container({ ...header, encoder: { ...encoder, scaleUnit: 'x' } }), 'BAD_CONTAINER_HEADER'],
    ['scale factor 0', container({ ...header, encoder: { ...encoder, scaleFactor: 0 } }), 'BAD_CONTAINER_HEADER'],
    ['a list', container([1]), 'BAD_CONTAINER_HEADER'],
    ['tensors that are no list', container({ ...header, tensors: {} }), 'BAD_CONTAINER_HEADER'],
    ['names out of order', container({ ...header, tensors: [...header.tensors].reverse() }), 'BAD_CONTAINER_HEADER'],
    ['a name twice', container({ ...header, tensors: [header.tensors[1], header.tensors[1]] }), 'BAD_CONTAINER_HEADER'],
    ['a name that is no text', container({ ...header, tensors: [{ name: 1, shape: [] }] }), 'BAD_CONTAINER_HEADER'],
    [
      'a name above the limit',
      container({ ...header, tensors: [{ name: 'n'.repeat(MAX_NAME_BYTES + 1), shape: [] }] }),
      'BAD_CONTAINER_HEADER',
    ],
    [
      'dimensions above the limit',
      container({ ...header, tensors: [{ name: 'a', shape: new Array(MAX_DIMENSIONS + 1).fill(1) }] }),
      'BAD_CONTAINER_HEADER',
    ],
    [
      'elements above the limit',
      container({ ...header, tensors: [{ name: 'a', shape: [MAX_TENSOR_ELEMENTS + 1] }] }),
      'BAD_CONTAINER_HEADER',
    ],
    ['a negative size', container({ ...header, tensors: [{ name: 'a', shape: [-1, -1] }] }), 'BAD_CONTAINER_HEADER'],
    ['a fractional size', container({ ...header, tensors: [{ name: 'a', shape: [1.5] }] }), 'BAD_CONTAINER_HEADER'],
    [
      'a byte after the header map',
      container(header, payload, (h) => Buffer.concat([h, Buffer.of(0)])),
      'BAD_CONTAINER_HEADER',
    ],
    ['a header that is no CBOR', container(header, payload, (h) => h.fill(255)), 'BAD_CONTAINER_HEADER'],
    ['an integer in a longer form', container(header, payload, lengthenInteger), 'BAD_CONTAINER_HEADER'],
    ['no payload', container(header, new Uint8Array(0)), 'TRUNCATED'],
    ['a payload of more tensors', container({ ...header, tensors: [] }), 'BAD_TENSOR_COUNT'],
    ['bytes after the payload', container(header, Buffer.concat([payload, Buffer.of(0)])), 'TRAILING_BYTES'],
  ])('are refused: %s', async (_, bytes, code) => {
    const path = join(await temporaryDirectory(), 'x');
    await writeFile(path, bytes);
    expect((await failure(openContainer(bytes))).code).toBe(code);
    expect((await failure(openContainer(path))).code).toBe(code);
  });
});

/** Writes `version: 1` as 0x18 0x01 instead of 0x01. */
function lengthenInteger(bytes: Uint8Array): Uint8Array {
  const at = Buffer.from(bytes).indexOf('version') + 'version'.length;
  return Buffer.concat([bytes.subarray(0, at), Buffer.of(0x18), bytes.subarray(at)]);
}
