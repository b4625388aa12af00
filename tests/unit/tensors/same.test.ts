import { describe, expect, test } from 'vitest';
import { sameValues, type TensorBytes } from '../../../src/tensors/same-values.ts';
import { TiedTensors } from '../../../src/tensors/tied.ts';
import { makeBase, type Plans } from './lora/support.ts';

/** More than one step of a comparison, and more than one chunk of a digest. */
const LONG = 2 ** 18 + 3;
const values = Array.from({ length: LONG }, (_, i) => (i % 251) / 8);
const changed = (at: number) => values.map((value, i) => (i === at ? 99 : value));

describe('values', () => {
  test('are the same in any dtypes that hold them, over all chunks', async () => {
    const source = await makeBase({
      a: { shape: [LONG], values },
      b: { shape: [LONG], values, dtype: 'F16' },
      c: { shape: [LONG], values, dtype: 'F64' },
      first: { shape: [LONG], values: changed(0), dtype: 'F16' },
      last: { shape: [LONG], values: changed(LONG - 1) },
    });
    const same = (x: string, y: string) => sameValues({ source, name: x }, { source, name: y });
    expect([await same('a', 'b'), await same('b', 'c'), await same('c', 'a')]).toEqual([true, true, true]);
    expect([await same('a', 'first'), await same('last', 'b')]).toEqual([false, false]);
  });

  test('are compared until an abort', async () => {
    const source = await makeBase({ a: { shape: [LONG], values } });
    const comparing = sameValues({ source, name: 'a' }, { source, name: 'a' }, { signal: AbortSignal.abort() });
    await expect(comparing).rejects.toThrow(expect.objectContaining({ name: 'AbortError' }));
  });
});

describe('tied tensors', () => {
  /** The checkpoint, and how often each tensor was read with which chunks. */
  async function watched(plans: Plans) {
    const checkpoint = await makeBase(plans);
    const reads: string[] = [];
    const source: TensorBytes = {
      tensors: checkpoint.tensors,
      chunks: (name, options = {}) => {
        reads.push(`${name} ${options.chunkBytes ?? 'whole'}`);
        return checkpoint.chunks(name, options);
      },
    };
    return { source, reads };
  }

  test('share one list in the order of the candidates, and each is read once as a whole', async () => {
    const long = { shape: [LONG], values };
    const { source, reads } = await watched({
      a: long,
      b: long,
      c: long,
      d: { shape: [LONG], values: changed(5_000) },
    });
    const tied = new TiedTensors(source, ['c', 'a', 'd', 'b']);
    const lists = [await tied.equalTo('a'), await tied.equalTo('b'), await tied.equalTo('c')];
    expect(lists[0]).toEqual(['c', 'a', 'b']);
    expect([lists[1] === lists[0], lists[2] === lists[0]]).toEqual([true, true]);
    expect(await tied.equalTo('d')).toEqual(['d']);
    expect(reads.sort()).toEqual(['a', 'b', 'c', 'd'].flatMap((name) => [`${name} 4096`, `${name} whole`]));
  });

  test('are no tensors of one repeated value, however long, and none without elements', async () => {
    const ones = { shape: [LONG], values: values.map(() => 1) };
    const { source } = await watched({ a: ones, b: ones, c: { shape: [0] }, d: { shape: [0] } });
    const tied = new TiedTensors(source, ['a', 'b', 'c', 'd']);
    expect([await tied.equalTo('a'), await tied.equalTo('c'), await tied.equalTo('absent')]).toEqual([[], [], []]);
  });
});
