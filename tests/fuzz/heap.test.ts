import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = promisify(execFile);
const CHILD = fileURLToPath(new URL('support/heap-child.ts', import.meta.url));

const MIB = 2 ** 20;
const HEADER_BYTES = 8 * MIB;

/** Bytes of JavaScript objects for each byte of a header, at most (src/tensors/header.ts); measured: 12. */
const HEAP_PER_BYTE = 16;
/** Bytes of the program itself, and of the tables of a payload with 65,536 sections. */
const HEAP_FIXED = 32 * MIB;

test('headers that say as much as they can stay in a heap of a stated multiple', async () => {
  const heap = (HEAP_PER_BYTE * HEADER_BYTES + HEAP_FIXED) / MIB;
  // A heap that needs more ends the process.
  const { stdout } = await run(process.execPath, [`--max-old-space-size=${heap}`, CHILD, String(HEADER_BYTES)]);
  const results = stdout
    .trim()
    .split('\n')
    .map((line): [string, unknown] => {
      const { what, result } = JSON.parse(line);
      return [what, result];
    });
  expect(Object.fromEntries(results)).toEqual({
    'tensors without elements': expect.any(Number),
    'tensors in descending order': expect.any(Number),
    'many dimensions': expect.any(Number),
    'metadata of many keys': 'METADATA_INVALID',
    'metadata of escapes': 0,
    'metadata of wide characters': 0,
    'unknown fields': 'UNKNOWN_FIELD',
    'an unknown list': 1,
    'an unknown text': 1,
    'an index of many tensors': expect.any(Number),
    'an index of many keys': 'INDEX_INVALID',
    'an adapter of many patterns': 'ADAPTER_CONFIG_INVALID',
    'a payload of as many sections as a table may have': 65_536,
  });
}, 120_000);
