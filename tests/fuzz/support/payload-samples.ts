/** Payloads to begin with, and what is done to them. */
import fc from 'fast-check';
import { encodeTernarySync, type TensorTable, ternaryFromSigns } from '../../../src/codec/index.ts';
import { lowRank, randomNumbers, tableOfShapes } from '../../unit/codec/support.ts';

export const table: TensorTable = tableOfShapes([40], [1], [0], [30, 30], [33], [2, 32], [250, 400], [7, 4, 4]);

/** With `banded` every third row has half of the entries, and every fifth column none. */
function sample(density: number, scales: readonly number[], banded = false, most = Infinity): Uint8Array {
  const random = randomNumbers(7);
  return encodeTernarySync(
    table,
    table.flatMap(({ elements, shape }, index) => {
      if (elements > most) return [];
      const width = shape.at(-1)!;
      const signs = Int8Array.from({ length: elements }, (_, i) => {
        let u = random();
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

export const samples: readonly Uint8Array[] = [
  sample(0.01, [0.5]),
  sample(0.2, [0.5, 0.25, 2]),
  sample(0.9, [1]),
  sample(0, [1]),
  sample(0.2, [1], true),
  // Small enough for the plain decoder, and so that most mutations fall into the code.
  sample(0.3, [1], true, 1000),
  sample(0.3, [1, 0.5], false, 1000),
  sample(0.05, [1], false, 1000),
  lowRankSample(0.1, Infinity),
  lowRankSample(0.5, 1000),
];

export type Mutation =
  | { kind: 'flip'; at: number; bit: number }
  | { kind: 'set'; at: number; value: number }
  | { kind: 'insert'; at: number; bytes: Uint8Array }
  | { kind: 'cut'; at: number; length: number }
  | { kind: 'end'; at: number };

/** A place in a payload: a share of its length, or from 1 on a distance from its start, where the headers are. */
const at = fc.oneof(
  // Not `fc.double`: it draws bit patterns evenly, so almost only the very first byte.
  fc.integer({ min: 0, max: 99_999 }).map((n) => n / 100_000),
  fc.integer({ min: 1, max: 40 }),
);

export const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at, bit: fc.integer({ min: 0, max: 7 }) }),
  fc.record({ kind: fc.constant('set' as const), at, value: fc.constantFrom(0, 1, 127, 128, 254, 255) }),
  fc.record({ kind: fc.constant('insert' as const), at, bytes: fc.uint8Array({ minLength: 1, maxLength: 12 }) }),
  fc.record({ kind: fc.constant('cut' as const), at, length: fc.integer({ min: 1, max: 12 }) }),
  fc.record({ kind: fc.constant('end' as const), at }),
);

export const mutations = fc.array(mutation, { minLength: 1, maxLength: 4 });

export function mutate(bytes: Uint8Array, changes: readonly Mutation[]): Uint8Array {
  let out = Buffer.from(bytes);
  for (const m of changes) {
    const position = m.at < 1 ? Math.floor(m.at * out.length) : Math.min(m.at - 1, Math.max(0, out.length - 1));
    if (m.kind === 'flip' && out.length > 0) out[position]! ^= 1 << m.bit;
    if (m.kind === 'set' && out.length > 0) out[position] = m.value;
    if (m.kind === 'insert') out = Buffer.concat([out.subarray(0, position), m.bytes, out.subarray(position)]);
    if (m.kind === 'cut') out = Buffer.concat([out.subarray(0, position), out.subarray(position + m.length)]);
    if (m.kind === 'end') out = out.subarray(0, position);
  }
  return new Uint8Array(out);
}

/** Numbers at and around every bound, and bytes that are no varint. */
const wild = fc.oneof(
  fc
    .constantFrom(
      ...[0, 1, 3, 15, 16, 17, 40, 64, 127, 128, 256, 900, 901, 1_024, 1_025, 16_383, 16_384, 46_340, 65_536, 100_000],
      ...[
        262_144,
        262_145,
        2 ** 22,
        2 ** 22 + 1,
        2 ** 28,
        2 ** 29,
        2 ** 31 - 1,
        2 ** 31,
        2 ** 32,
        2 ** 40,
        2 ** 53 - 1,
      ],
    )
    .map(varint),
  fc.constantFrom([128, 0], [129, 128, 0], [255, 255, 255, 255, 255, 255, 255, 127], new Array<number>(9).fill(255)),
);

/** A number as it may be, or in one of sixteen cases a wild one. */
function field(sound: fc.Arbitrary<number>): fc.Arbitrary<number[]> {
  return fc.oneof({ weight: 15, arbitrary: sound.map(varint) }, { weight: 1, arbitrary: wild });
}

const small = (max: number) => fc.integer({ min: 1, max });
const scale = fc
  .oneof(
    { weight: 15, arbitrary: fc.constantFrom(0.5, 1, 0.75, 2 ** -126) },
    { weight: 1, arbitrary: fc.constantFrom(2 ** 127, 0.1, 0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** -140) },
  )
  .map((value) => [...new Uint8Array(Float32Array.of(value).buffer)]);

/** A coding with its fields, the length of a code, and the code. */
const coded = fc
  .record({
    coding: fc.oneof(
      { weight: 8, arbitrary: field(small(8)).map((m) => [0, ...m]) },
      { weight: 8, arbitrary: fc.constantFrom([1, 0], [1, 16, 0x11], [1, 16, 0x20], [1, 30, 0x35], [1, 32, 0x0f]) },
      { weight: 1, arbitrary: fc.tuple(wild, small(255)).map(([width, priors]) => [1, ...width, priors]) },
      { weight: 1, arbitrary: fc.constantFrom([2], [3], [255], [1, 16, 0]) },
    ),
    code: fc.uint8Array({ minLength: 1, maxLength: 16 }),
    wrong: fc.oneof({ weight: 15, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: wild }),
  })
  .map(({ coding, code, wrong }) => {
    // A state in range, for a start.
    if (coding[0] === 1) code[0] = 1 + (code[0]! % 127);
    return { coding, code: [...code], length: wrong ?? varint(code.length) };
  });

/** The rows of the matrices of the table. */
const matrices = fc.constantFrom([3, 30], [3, 15], [5, 2], [5, 8], [6, 250], [6, 100], [7, 7], [7, 16]);

/** The bytes of one section, of a tensor of the table, with few lies. */
function section(perTensor: boolean): fc.Arbitrary<{ index: number; bytes: number[] }> {
  const own = perTensor ? scale : fc.constant([]);
  const ternary = fc
    .record({ at: fc.constantFrom(0, 1, 3, 4, 5, 6, 7), nnz: field(small(12)), own, coded })
    .map(({ at: index, nnz, own: scaled, coded: { coding, length, code } }) => ({
      index,
      bytes: [...nnz, ...coding, ...scaled, ...length, ...code],
    }));
  const lowRank = fc
    .record({
      ...{
        matrix: matrices,
        rank: field(small(3)),
        rows: fc.oneof({ weight: 1, arbitrary: wild }, { weight: 15, arbitrary: fc.constant(null) }),
      },
      ...{ nnz: field(small(12)), own, left: coded, rightNnz: field(small(12)), right: coded },
    })
    .map(({ matrix, rank, rows, nnz, own: scaled, left, rightNnz, right }) => ({
      index: matrix[0]!,
      bytes: [
        ...[...nnz, 2, ...(rows ?? varint(matrix[1]!)), ...rank, ...scaled, ...left.coding, ...left.length],
        ...[...rightNnz, ...right.coding, ...right.length, ...left.code, ...right.code],
      ],
    }));
  return fc.oneof(ternary, lowRank);
}

/** Payloads written field by field, where most fields are as they may be: a lie meets every check, also the last ones. */
export const fields: fc.Arbitrary<Uint8Array> = fc.boolean().chain((perTensor) =>
  fc
    .record({
      sections: fc.array(section(perTensor), { minLength: perTensor ? 2 : 0, maxLength: 3 }),
      ordered: fc.integer({ min: 0, max: 15 }),
      lie: fc.oneof(
        { weight: 15, arbitrary: fc.constant(0) },
        { weight: 1, arbitrary: fc.constantFrom(1, -1, 2 ** 31) },
      ),
      scale,
      wildIndex: fc.oneof({ weight: 15, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: wild }),
      tail: fc.oneof({ weight: 15, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: fc.constant([0]) }),
    })
    .map(({ sections, ordered, lie, scale: shared, wildIndex, tail }) => {
      if (ordered > 0) sections.sort((a, b) => a.index - b.index);
      const count = new Uint8Array(Uint32Array.of(Math.max(0, sections.length + lie)).buffer);
      const head = [...Buffer.from('KMTV'), 1, perTensor ? 1 : 0, ...count];
      const global = perTensor || sections.length === 0 ? [] : shared;
      const body = sections.flatMap(({ index, bytes }, i) => [
        ...(i === 0 && wildIndex ? wildIndex : varint(index)),
        ...bytes,
      ]);
      return Uint8Array.from([...head, ...global, ...body, ...tail]);
    }),
);

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return [...bytes, rest];
}
