/** Headers of safetensors files, and what is done to them. */
import fc from 'fast-check';
import { entry, fileBytes } from '../../unit/tensors/files.ts';

export const HEADER = `{"__metadata__":{"format":"pt"},${entry('a', 'F32', [2, 3], 0, 24)},${entry('b', 'BF16', [4], 24, 32)},${entry('c', 'I64', [], 32, 40)},${entry('d', 'F8_E4M3', [3], 40, 43)}}`;
export const DATA_BYTES = 43;
export const FILE: Uint8Array = fileBytes(HEADER, new Uint8Array(DATA_BYTES).fill(1));

const pieces = [
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
];

/** Small edits: a byte set, a piece cut out, doubled, or put in. */
export interface Edit {
  readonly at: number;
  readonly kind: 'set' | 'cut' | 'double' | 'insert';
  readonly length: number;
  readonly bytes: Uint8Array;
}

export const edits: fc.Arbitrary<Edit[]> = fc.array(
  fc.record({
    at: fc.nat({ max: 400 }),
    kind: fc.constantFrom('set', 'cut', 'double', 'insert'),
    length: fc.integer({ min: 1, max: 40 }),
    bytes: fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 8 }),
      fc.constantFrom(...pieces).map((text) => new Uint8Array(Buffer.from(text))),
    ),
  }),
  { minLength: 1, maxLength: 4 },
);

export function edit(bytes: Uint8Array, changes: readonly Edit[]): Uint8Array {
  let out = Buffer.from(bytes);
  for (const { at, kind, length, bytes: piece } of changes) {
    const i = Math.min(at, out.length);
    const j = Math.min(i + length, out.length);
    if (kind === 'set') out.set(piece.subarray(0, out.length - i), i);
    else if (kind === 'cut') out = Buffer.concat([out.subarray(0, i), out.subarray(j)]);
    else if (kind === 'double') out = Buffer.concat([out.subarray(0, j), out.subarray(i)]);
    else out = Buffer.concat([out.subarray(0, i), piece, out.subarray(i)]);
  }
  return out;
}

/** Mostly the sound one, in one of twenty cases another. */
function mostly<T>(sound: T, ...others: readonly T[]): fc.Arbitrary<T> {
  return fc.oneof({ weight: 19, arbitrary: fc.constant(sound) }, { weight: 1, arbitrary: fc.constantFrom(...others) });
}

const wildNumbers = [
  '-1',
  '-0',
  '2.0',
  '1e0',
  '"2"',
  'null',
  '01',
  '4294967296',
  '9007199254740991',
  '9007199254740992',
];
const wildValues = [
  '1',
  '"x"',
  '[]',
  '{}',
  'true',
  '1e400',
  '[[[[]]]]',
  '"\\u00e9\\n"',
  '"\\ud800"',
  '{"k":[1,{"k":2}]}',
];
const space = mostly('', ' ', '\n\t', '\r ');

interface Plan {
  readonly name: string;
  readonly shape: readonly number[];
}

const plan: fc.Arbitrary<Plan> = fc.record({
  name: fc.oneof(
    fc.constantFrom('a', 'b', 'model.layers.0.weight', '', '__proto__', 'é', '😀', '\u0000', '10', '9'),
    fc.string({ unit: 'binary', maxLength: 12 }),
  ),
  shape: fc.oneof(fc.array(fc.nat({ max: 4 }), { maxLength: 4 }), fc.constant([0, 2 ** 53 - 1])),
});
const dtypes = fc.constantFrom(
  ['F32', 4],
  ['F16', 2],
  ['BF16', 2],
  ['F64', 8],
  ['U8', 1],
  ['BOOL', 1],
  ['F8_E5M2', 1],
  ['I64', 8],
);

/** One tensor's description, as text, and where it ends; now and then not where the one before ended. */
function describe({ name, shape }: Plan, previous: number): fc.Arbitrary<{ text: string; end: number }> {
  return fc.tuple(dtypes, mostly(0, 1, 8, -1, -4)).chain(([[dtype, size], shift]) => {
    const begin = Math.max(0, previous + shift);
    const end = begin + shape.reduce((a, b) => a * b, 1) * (size as number);
    const number = (value: number) => mostly(String(value), ...wildNumbers, String(value + 1), String(value * 2));
    const list = (values: readonly number[]) =>
      fc
        .tuple(fc.tuple(...values.map(number)), mostly(false, true), space)
        .map(([items, odd, blank]) => `[${blank}${[...items, ...(odd ? ['0'] : [])].join(`,${blank}`)}${blank}]`);
    return fc
      .record({
        key: mostly(JSON.stringify(name), '"a"', '"\\u0061"', '"__metadata__"', 'a', '""'),
        dtype: mostly(JSON.stringify(dtype), '"F128"', '"F4"', '"f32"', '4', 'null', '"U8"'),
        shape: list(shape),
        offsets: list([begin, end]),
        order: fc.shuffledSubarray(['dtype', 'shape', 'data_offsets'], { minLength: 3 }),
        change: mostly('none', 'drop', 'twice', 'unknown', 'value'),
        wild: fc.constantFrom(...wildValues),
        blank: space,
      })
      .map(({ key, dtype: type, shape: dims, offsets, order, change, wild, blank }) => {
        const values: Record<string, string> = { dtype: type, shape: dims, data_offsets: offsets };
        const parts = order.map((field) => `"${field}"${blank}:${blank}${values[field]}`);
        if (change === 'drop') parts.pop();
        if (change === 'twice') parts.push(parts[0]!);
        if (change === 'unknown') parts.unshift(`"x":${wild}`);
        return { text: `${key}:${blank}${change === 'value' ? wild : `{${parts.join(`${blank},`)}}`}`, end };
      });
  });
}

/** Headers written field by field, where most fields are as they may be, with the bytes of data that follow. */
export const headers: fc.Arbitrary<{ header: Uint8Array; dataBytes: number }> = fc
  .uniqueArray(plan, { maxLength: 4, selector: ({ name }) => name })
  .chain((plans) => {
    // Descriptions follow each other in the data, so each begins where the one before ends.
    let entries: fc.Arbitrary<{ texts: string[]; end: number }> = fc.constant({ texts: [], end: 0 });
    for (const each of plans) {
      entries = entries.chain(({ texts, end }) =>
        describe(each, end).map((next) => ({ texts: [...texts, next.text], end: next.end })),
      );
    }
    return fc.record({
      entries,
      order: fc.infiniteStream(fc.nat({ max: 9 })),
      metadata: fc.oneof(
        { weight: 3, arbitrary: fc.constant(undefined) },
        {
          weight: 3,
          arbitrary: fc
            .dictionary(fc.string({ maxLength: 4 }), fc.string({ maxLength: 4 }), { maxKeys: 3 })
            .map((map) => JSON.stringify(map)),
        },
        { weight: 1, arbitrary: fc.constantFrom('null', '{"a":"1","a":"2"}', '{"a":1}', ...wildValues) },
      ),
      more: mostly(0, 1, -1, 1_000),
      after: mostly('', ' ', '   \n', '\u0000', '{}', ','),
    });
  })
  .map(({ entries: { texts, end }, order, metadata, more, after }) => {
    const parts = texts.map((text) => [order.next().value ?? 0, text] as const).sort(([a], [b]) => a - b);
    const all = [...(metadata === undefined ? [] : [`"__metadata__":${metadata}`]), ...parts.map(([, text]) => text)];
    return { header: Buffer.from(`{${all.join(',')}}${after}`), dataBytes: Math.max(0, end + more) };
  });
