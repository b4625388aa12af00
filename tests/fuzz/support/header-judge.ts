/** What every header must come to: a coded error, or exactly what a plain JSON parser reads there, covering the data. */
import { expect } from 'vitest';
import { KinmergeError } from '../../../src/errors.ts';
import { dtypeBytes, parseHeader } from '../../../src/tensors/index.ts';
import { counting } from './allocations.ts';
import { within } from './runs.ts';

/** Bytes that reading a header takes beside it: its strings and tables are JavaScript's. */
const PARSER_BYTES = 1_024;

/** Judges a header in memory, read strictly and with unknown fields passed over; returns its verdict: a code, or 'read'. */
export async function judgeHeader(header: Uint8Array, dataBytes: number): Promise<string> {
  const verdicts: string[] = [];
  for (const unknownFields of ['reject', 'ignore'] as const) {
    const parsed = await attempt(PARSER_BYTES, () => parseHeader(header, dataBytes, { source: 'x', unknownFields }));
    verdicts.push(parsed instanceof KinmergeError ? parsed.code : 'read');
    if (!(parsed instanceof KinmergeError)) checkContent(header, dataBytes, parsed);
  }
  // To pass over fields makes more files readable, never fewer.
  if (verdicts[0] === 'read') expect(verdicts[1]).toBe('read');
  return verdicts[0]!;
}

function checkContent(header: Uint8Array, dataBytes: number, parsed: ReturnType<typeof parseHeader>): void {
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(header);
  const { __metadata__: metadata, ...others }: Record<string, unknown> = JSON.parse(text);
  // A spread keeps `__proto__` as a key of its own.
  const plain = new Map(Object.entries(others));
  const names = [...parsed.tensors.keys()];
  expect(new Set(names)).toEqual(new Set(plain.keys()));
  expect(names).toEqual([...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
  let covered = 0;
  for (const { name, dtype, shape, elements, byteLength, begin } of parsed.tensors.values()) {
    expect(plain.get(name)).toMatchObject({ dtype, shape, data_offsets: [begin, begin + byteLength] });
    expect(byteLength).toBe(elements * dtypeBytes(dtype));
    covered += byteLength;
  }
  expect(covered).toBe(dataBytes);
  expect([...parsed.metadata]).toEqual(expect.arrayContaining(Object.entries(metadata ?? {})));
  expect(parsed.metadata.size).toBe(Object.keys(metadata ?? {}).length);
}

/** The result, or a coded error of bounded length; anything else fails, and so does more memory or time than allowed. */
export async function attempt<T>(mostBytes: number, work: () => Promise<T> | T): Promise<T | KinmergeError> {
  const { result, bytes } = await within(() => counting(() => outcome(work)));
  expect(bytes, 'bytes that were allocated').toBeLessThanOrEqual(mostBytes);
  return result;
}

async function outcome<T>(work: () => Promise<T> | T): Promise<T | KinmergeError> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof KinmergeError)) throw error;
    expect(error.message.length).toBeLessThan(1_500);
    return error;
  }
}
