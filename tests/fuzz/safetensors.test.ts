import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { KinmergeError } from '../../src/errors.ts';
import { createSafetensors, describeTensor, openCheckpoint, parseHeader } from '../../src/tensors/index.ts';

let dir: string;
let path: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kinmerge-fuzz-'));
  path = join(dir, 'x.safetensors');
});

afterAll(() => rm(dir, { recursive: true, force: true }));

const HEADER =
  '{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},' +
  '"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"c":{"dtype":"I64","shape":[],"data_offsets":[32,40]}}';

function file(header: Uint8Array, data: Uint8Array, length = header.byteLength): Uint8Array {
  const field = Buffer.alloc(8);
  field.writeBigUInt64LE(BigInt(length));
  return Buffer.concat([field, header, data]);
}

const VALID = file(Buffer.from(HEADER), new Uint8Array(40).fill(1));

/** Opens and reads everything; only coded errors may come, and what opened must be readable. */
async function readAll(bytes: Uint8Array): Promise<'read' | 'refused'> {
  await writeFile(path, bytes);
  const started = performance.now();
  try {
    const checkpoint = await openCheckpoint(path, { unknownFields: 'ignore' });
    try {
      let total = 0;
      for (const info of checkpoint.tensors.values()) {
        total += info.byteLength;
        const raw = await checkpoint.readRaw(info.name);
        expect(raw.byteLength).toBe(info.byteLength);
        await describeTensor(checkpoint, info.name).catch(requireCoded);
      }
      expect(total).toBeLessThanOrEqual(bytes.byteLength);
    } finally {
      await checkpoint.close();
    }
    return 'read';
  } catch (error) {
    requireCoded(error);
    return 'refused';
  } finally {
    expect(performance.now() - started).toBeLessThan(5_000);
  }
}

function requireCoded(error: unknown): void {
  if (!(error instanceof KinmergeError)) throw error;
  expect(error.message.length).toBeLessThan(1_000 + path.length);
}

/** Small edits: a byte set, a piece cut out, doubled, or put in. */
const edit = fc.record({
  at: fc.nat({ max: 400 }),
  kind: fc.constantFrom('set', 'cut', 'double', 'insert'),
  length: fc.integer({ min: 1, max: 40 }),
  bytes: fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 8 }),
    fc
      .constantFrom(
        '"',
        '{',
        '}',
        '[',
        ']',
        ',',
        ':',
        '\\',
        '-',
        '.',
        'e',
        '0',
        '9',
        '"dtype"',
        '"a"',
        'null',
        '\\ud800',
        ' ',
      )
      .map((text) => new Uint8Array(Buffer.from(text))),
  ),
});

function apply(
  bytes: Uint8Array,
  edits: readonly (typeof edit extends fc.Arbitrary<infer T> ? T : never)[],
): Uint8Array {
  let out = Buffer.from(bytes);
  for (const { at, kind, length, bytes: piece } of edits) {
    const i = Math.min(at, out.length);
    const j = Math.min(i + length, out.length);
    if (kind === 'set') out.set(piece.subarray(0, out.length - i), i);
    else if (kind === 'cut') out = Buffer.concat([out.subarray(0, i), out.subarray(j)]);
    else if (kind === 'double') out = Buffer.concat([out.subarray(0, j), out.subarray(i)]);
    else out = Buffer.concat([out.subarray(0, i), piece, out.subarray(i)]);
  }
  return out;
}

test('the file that is mutated is valid', async () => {
  expect(await readAll(VALID)).toBe('read');
});

test('a file with mutated bytes is read or refused with a code', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async (edits) => {
      await readAll(apply(VALID, edits));
    }),
    { numRuns: 400 },
  );
});

test('a mutated header under a matching length field is read or refused with a code', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async (edits) => {
      await readAll(file(apply(Buffer.from(HEADER), edits), new Uint8Array(40)));
    }),
    { numRuns: 400 },
  );
});

test('a JSON document as a header is read or refused with a code, and never by accident', () => {
  fc.assert(
    fc.property(fc.json(), fc.nat({ max: 64 }), (text, dataBytes) => {
      try {
        const { tensors } = parseHeader(Buffer.from(text), dataBytes, { source: 'x' });
        let covered = 0;
        for (const { byteLength } of tensors.values()) covered += byteLength;
        expect(covered).toBe(dataBytes);
      } catch (error) {
        requireCoded(error);
      }
    }),
    { numRuns: 2_000 },
  );
});

test('the strict reader never takes what JSON.parse refuses', () => {
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
      const bytes = apply(Buffer.from(HEADER), edits);
      try {
        parseHeader(bytes, 40, { source: 'x', unknownFields: 'ignore' });
      } catch (error) {
        requireCoded(error);
        return;
      }
      JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
    }),
    { numRuns: 3_000 },
  );
});

test('whatever is written is read back', async () => {
  const tensor = fc.record({
    name: fc.string({ unit: 'binary', maxLength: 20 }).filter((name) => name !== '__metadata__'),
    dtype: fc.constantFrom('F32', 'F16', 'BF16', 'F64', 'I64', 'U8', 'BOOL', 'F8_E4M3'),
    shape: fc.array(fc.nat({ max: 5 }), { maxLength: 4 }),
  });
  const text = fc.string({ unit: 'binary', maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(tensor, { selector: ({ name }) => name, maxLength: 8 }),
      fc.dictionary(text, text, { maxKeys: 4 }),
      async (tensors, metadata) => {
        const writer = await createSafetensors(path, tensors, { metadata });
        const contents = new Map<string, Uint8Array>();
        for (const { name, byteLength } of writer.tensors) {
          contents.set(
            name,
            new Uint8Array(byteLength).map((_, i) => (i * 37 + name.length) & 255),
          );
          await writer.write(name, contents.get(name)!);
        }
        await writer.commit();
        const checkpoint = await openCheckpoint(path);
        expect(new Map(checkpoint.metadata)).toEqual(new Map(Object.entries({ ...metadata, format: 'pt' })));
        expect(checkpoint.tensors.size).toBe(tensors.length);
        for (const { name, dtype, shape } of tensors) {
          expect(checkpoint.tensors.get(name)).toMatchObject({ dtype, shape });
          expect(Buffer.compare(await checkpoint.readRaw(name), contents.get(name)!)).toBe(0);
        }
        await checkpoint.close();
      },
    ),
    { numRuns: 60 },
  );
});
