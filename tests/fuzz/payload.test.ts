import fc from 'fast-check';
import { expect, test } from 'vitest';
import { containerHead } from '../../src/codec/container-format.ts';
import {
  CodecError,
  checkPayload,
  encodeTernarySync,
  expand,
  maskWords,
  openContainer,
  openPayload,
  popcount,
  type SignMasks,
  type TensorTable,
  ternaryFromSigns,
} from '../../src/codec/index.ts';
import { referenceDecode } from '../unit/codec/reference-decoder.ts';
import { lowRank, randomNumbers } from '../unit/codec/support.ts';

/** Environment variable for longer runs: inputs per property. */
const RUNS = Number(process.env.KINMERGE_FUZZ_RUNS ?? 3_000);

const shapes = [[40], [1], [0], [30, 30], [33], [2, 32], [250, 400], [7, 4, 4]];
const table: TensorTable = shapes.map((shape, i) => ({
  name: `t${i}`,
  shape,
  elements: shape.reduce((a, b) => a * b, 1),
}));

/** With `banded` every third row has half of the entries, and every fifth column none. */
function sample(density: number, scales: readonly number[], banded = false, most = Infinity): Uint8Array {
  let state = 7;
  return encodeTernarySync(
    table,
    table.flatMap(({ elements, shape }, index) => {
      if (elements > most) return [];
      const width = shape.at(-1)!;
      const signs = Int8Array.from({ length: elements }, (_, i) => {
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
        let u = state / 2 ** 32;
        if (banded && Math.floor(i / width) % 3 === 0) u *= 2;
        if (banded && (i % width) % 5 === 0) u = 1;
        return u < density / 2 ? 1 : u < density ? -1 : 0;
      });
      return ternaryFromSigns(index, signs, scales[index % scales.length]!) ?? [];
    }),
  );
}

/** The matrices as low-rank tensors, the others ternary. */
function lowRankSample(density: number, most: number): Uint8Array {
  const random = randomNumbers(11);
  return encodeTernarySync(
    table,
    table.flatMap(({ elements, shape }, index) => {
      if (elements > most || elements === 0) return [];
      const rows = shape[0]!;
      const rank = Math.floor(elements / (rows + elements / rows) / 2);
      if (rank < 1) return ternaryFromSigns(index, Int8Array.from({ length: elements }).fill(1), 0.5)!;
      return lowRank(index, { rows, columns: elements / rows, rank, density, random });
    }),
  );
}

const samples = [
  sample(0.01, [0.5]),
  sample(0.2, [0.5, 0.25, 2]),
  sample(0.9, [1]),
  sample(0, [1]),
  sample(0.2, [1], true),
  // Small enough for the plain decoder, and so that most mutations fall into the code.
  sample(0.3, [1], true, 1000),
  lowRankSample(0.1, Infinity),
  lowRankSample(0.5, 1000),
];
const head = containerHead(table, { mode: 'global', density: 0.2, scaleUnit: 'deviation', scaleFactor: 4 });

type Mutation =
  | { kind: 'flip'; at: number; bit: number }
  | { kind: 'set'; at: number; value: number }
  | { kind: 'insert'; at: number; bytes: Uint8Array }
  | { kind: 'cut'; at: number; length: number }
  | { kind: 'end'; at: number };

// Half of the positions fall into the first bytes, where the headers are.
// Not `fc.double`: it draws bit patterns evenly, so almost only the very first byte.
const spread = fc.integer({ min: 0, max: 99_999 });
const at = fc.oneof(
  spread.map((n) => n / 100_000),
  spread.map((n) => n / 50_000_000),
);
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at, bit: fc.integer({ min: 0, max: 7 }) }),
  fc.record({ kind: fc.constant('set' as const), at, value: fc.constantFrom(0, 1, 127, 128, 254, 255) }),
  fc.record({ kind: fc.constant('insert' as const), at, bytes: fc.uint8Array({ minLength: 1, maxLength: 12 }) }),
  fc.record({ kind: fc.constant('cut' as const), at, length: fc.integer({ min: 1, max: 12 }) }),
  fc.record({ kind: fc.constant('end' as const), at }),
);

function mutate(bytes: Uint8Array, mutations: readonly Mutation[]): Uint8Array {
  let out = Buffer.from(bytes);
  for (const m of mutations) {
    const position = Math.floor(m.at * out.length);
    if (m.kind === 'flip' && out.length > 0) out[position]! ^= 1 << m.bit;
    if (m.kind === 'set' && out.length > 0) out[position] = m.value;
    if (m.kind === 'insert') out = Buffer.concat([out.subarray(0, position), m.bytes, out.subarray(position)]);
    if (m.kind === 'cut') out = Buffer.concat([out.subarray(0, position), out.subarray(position + m.length)]);
    if (m.kind === 'end') out = out.subarray(0, position);
  }
  return new Uint8Array(out);
}

/** Milliseconds that one input may take: a full pass over the largest sample takes about one. */
const MAX_MILLISECONDS = 1_000;

/** Either a CodecError, the same in a pass that keeps masks and in one that counts, or a payload in all its bounds. */
async function judge(bytes: Uint8Array): Promise<void> {
  const started = performance.now();
  const counted = await outcome(checkPayload(bytes, table));
  const decoded = await outcome(decode(bytes));
  if (counted instanceof CodecError || decoded instanceof CodecError) {
    expect(String(decoded)).toBe(String(counted));
    expect((decoded as CodecError).code).toBe((counted as CodecError).code);
  }
  expect(performance.now() - started).toBeLessThan(MAX_MILLISECONDS);
  if (bytes.length > 2_000) return; // The plain decoder is slow.
  const reference = referenceDecode(bytes, table);
  expect(reference === null).toBe(counted instanceof CodecError);
  if (!(counted instanceof CodecError)) {
    expect(
      reference!.map(({ index, scale, signs }) => {
        const [sum, squares, peak] = [...signs].reduce(
          ([a, b, c], k) => [a! + k, b! + k * k, Math.max(c!, Math.abs(k))],
          [0, 0, 0],
        );
        return { index, scale, sum, squares, peak };
      }),
    ).toEqual(counted.tensors.map(({ entries: _, ...rest }) => rest));
  }
}

async function outcome<T>(work: Promise<T>): Promise<T | CodecError> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof CodecError) return error;
    throw error;
  }
}

async function decode(bytes: Uint8Array): Promise<void> {
  const reader = await openPayload(bytes, table);
  let previous = -1;
  for await (const t of reader.tensors()) {
    const { elements } = table[t.index]!;
    expect(t.index).toBeGreaterThan(previous);
    previous = t.index;
    if (t.form === 'low-rank') {
      expect(t.rows * t.columns).toBe(elements);
      checkMasks(t.left, t.rows * t.rank);
      checkMasks(t.right, t.rank * t.columns);
    } else checkMasks(t, elements);
    expect(t.scale > 0 && Number.isFinite(t.scale)).toBe(true);
    const dense = new Float32Array(elements);
    expand(t, dense);
    expect(dense.every(Number.isFinite)).toBe(true);
    // Decoded content is sound: the encoder takes it.
    expect(encodeTernarySync(table, [t]).length).toBeGreaterThan(0);
  }
}

function checkMasks({ plus, minus, nnz }: SignMasks, elements: number): void {
  expect([plus.length, minus.length]).toEqual([maskWords(elements), maskWords(elements)]);
  expect(popcount(plus) + popcount(minus)).toBe(nnz);
  expect(plus.every((word, i) => (word & minus[i]!) === 0)).toBe(true);
}

test('mutated payloads give a CodecError or a sound payload', async () => {
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...samples),
      fc.array(mutation, { minLength: 1, maxLength: 4 }),
      async (bytes, mutations) => {
        const mutated = mutate(bytes, mutations);
        await judge(mutated);
        refused += (await outcome(checkPayload(mutated, table))) instanceof CodecError ? 1 : 0;
      },
    ),
    { numRuns: RUNS, endOnFailure: true },
  );
  expect(refused).toBeGreaterThan(RUNS / 10);
}, 600_000);

test('random bytes behind a good header give a CodecError or a sound payload', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(0, 1),
      fc.integer({ min: 0, max: 8 }),
      fc.uint8Array({ maxLength: 60 }),
      async (flags, count, rest) => {
        const scale = flags === 0 && count > 0 ? [0, 0, 0, 63] : [];
        await judge(Uint8Array.from([...Buffer.from('KMTV'), 1, flags, count, 0, 0, 0, ...scale, ...rest]));
      },
    ),
    { numRuns: RUNS, endOnFailure: true },
  );
}, 600_000);

test('random code of coding 1 gives a CodecError or a sound payload', async () => {
  const kinds = new Set<string>();
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom([3, 0], [3, 30], [3, 90], [5, 0], [5, 16], [5, 32], [7, 0], [7, 16], [7, 28]),
      fc.integer({ min: 1, max: 255 }),
      fc.integer({ min: 1, max: 112 }),
      fc.uint8Array({ minLength: 4, maxLength: 28 }),
      async ([index, width], priors, nnz, code) => {
        // A first byte of 1 to 127 makes a state in range.
        code[0] = 1 + (code[0]! % 127);
        const model = width === 0 ? [0] : [width!, priors];
        const section = [index!, nnz, 1, ...model, code.length, ...code];
        const bytes = Uint8Array.from([...Buffer.from('KMTV'), 1, 0, 1, 0, 0, 0, 0, 0, 0, 63, ...section]);
        await judge(bytes);
        const result = await outcome(checkPayload(bytes, table));
        kinds.add(result instanceof CodecError ? result.code : 'sound');
      },
    ),
    { numRuns: RUNS, endOnFailure: true },
  );
  for (const kind of ['BAD_COUNT', 'BAD_SECTION_LENGTH']) expect(kinds).toContain(kind);
}, 600_000);

test('random factors of coding 2 give a CodecError or a sound payload', async () => {
  const kinds = new Set<string>();
  const tensors = fc.constantFrom([3, 30], [3, 15], [5, 2], [7, 7], [7, 16]);
  const counts = fc.tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 12 }));
  const code = fc.uint8Array({ minLength: 1, maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(
      tensors,
      fc.integer({ min: 0, max: 8 }),
      counts,
      code,
      code,
      async ([index, rows], rank, [nnzLeft, nnzRight], left, right) => {
        const factors = [0, 2, left.length, nnzRight, 0, 3, right.length, ...left, ...right];
        const section = [index!, nnzLeft, 2, rows!, rank, ...factors];
        const bytes = Uint8Array.from([...Buffer.from('KMTV'), 1, 0, 1, 0, 0, 0, 0, 0, 0, 63, ...section]);
        await judge(bytes);
        const result = await outcome(checkPayload(bytes, table));
        kinds.add(result instanceof CodecError ? result.code : 'sound');
      },
    ),
    { numRuns: RUNS, endOnFailure: true },
  );
  for (const kind of ['BAD_FACTORS', 'BAD_COUNT', 'BAD_SECTION_LENGTH']) expect(kinds).toContain(kind);
}, 600_000);

test('mutated containers give a CodecError or open', async () => {
  const bytes = new Uint8Array(Buffer.concat([head, samples[0]!]));
  await fc.assert(
    fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 4 }), async (mutations) => {
      const opened = await outcome(openContainer(mutate(bytes, mutations)));
      if (!(opened instanceof CodecError)) await outcome(opened.check());
    }),
    { numRuns: Math.ceil(RUNS / 3), endOnFailure: true },
  );
}, 600_000);
