import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { KinmergeError } from '../../src/errors.ts';
import { createSafetensors, describeTensor, openCheckpoint } from '../../src/tensors/index.ts';
import { fileBytes } from '../unit/tensors/files.ts';
import { attempt, judgeHeader } from './support/header-judge.ts';
import { DATA_BYTES, edit, edits, FILE, HEADER, headers } from './support/header-samples.ts';
import { FUZZ_TIMEOUT, fuzzer } from './support/runs.ts';

const fuzz = fuzzer('safetensors', 10);

let dir: string;
let path: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kinmerge-fuzz-'));
  path = join(dir, 'x.safetensors');
});

afterAll(() => rm(dir, { recursive: true, force: true }));

/** Opens a file and reads everything; what opened must be readable. */
async function judgeFile(bytes: Uint8Array): Promise<string> {
  await writeFile(path, bytes);
  // The header once, and what looks at its first bytes.
  const checkpoint = await attempt(bytes.byteLength + 2_048, () => openCheckpoint(path, { unknownFields: 'ignore' }));
  if (checkpoint instanceof KinmergeError) return checkpoint.code;
  try {
    let total = 0;
    for (const { name, byteLength, elements } of checkpoint.tensors.values()) {
      total += byteLength;
      const raw = await attempt(byteLength, () => checkpoint.readRaw(name));
      expect((raw as Uint8Array).byteLength).toBe(byteLength);
      // The values, and a piece of the file in another dtype; 256 KiB for a table, once.
      const values = await attempt(4 * elements + byteLength + 2 ** 19, () => checkpoint.readFloat32(name));
      if (!(values instanceof KinmergeError)) expect(values.length).toBe(elements);
      await attempt(8 * byteLength + 2 ** 20, () => describeTensor(checkpoint, name));
    }
    expect(total).toBeLessThanOrEqual(bytes.byteLength);
  } finally {
    await checkpoint.close();
  }
  return 'read';
}

test('the file that is mutated is valid', async () => {
  expect(await judgeFile(FILE)).toBe('read');
  expect(await judgeHeader(Buffer.from(HEADER), DATA_BYTES)).toBe('read');
});

test(
  'a file with mutated bytes is read or refused with a code',
  async () => {
    await fuzz.run(0.12, edits, (changes) => judgeFile(edit(FILE, changes)));
  },
  FUZZ_TIMEOUT,
);

test(
  'a file with a mutated header under a matching length field is read or refused with a code',
  async () => {
    await fuzz.run(0.12, edits, (changes) => judgeFile(fileBytes(edit(Buffer.from(HEADER), changes), DATA_BYTES)));
  },
  FUZZ_TIMEOUT,
);

test(
  'a file whose header is written field by field is read or refused with a code',
  async () => {
    await fuzz.run(0.12, headers, ({ header, dataBytes }) => judgeFile(fileBytes(header, dataBytes)));
  },
  FUZZ_TIMEOUT,
);

test(
  'a header with mutated bytes is what JSON says it is, or refused with a code',
  async () => {
    await fuzz.run(0.3, edits, (changes) => judgeHeader(edit(Buffer.from(HEADER), changes), DATA_BYTES));
  },
  FUZZ_TIMEOUT,
);

test(
  'a header written field by field is what JSON says it is, or refused with a code',
  async () => {
    const verdicts = await fuzz.run(0.29, headers, ({ header, dataBytes }) => judgeHeader(header, dataBytes));
    verdicts.expectAll(['read', 'SIZE_MISMATCH', 'UNKNOWN_DTYPE', 'METADATA_INVALID', 'TENSOR_NOT_OBJECT']);
  },
  FUZZ_TIMEOUT,
);

test(
  'any JSON document as a header is read or refused with a code, and never by accident',
  async () => {
    await fuzz.run(0.05, fc.tuple(fc.json(), fc.nat({ max: 64 })), ([text, dataBytes]) =>
      judgeHeader(Buffer.from(text), dataBytes),
    );
  },
  FUZZ_TIMEOUT,
);

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
