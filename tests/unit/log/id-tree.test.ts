import fc from 'fast-check';
import type { CID } from 'multiformats/cid';
import { describe, expect, test } from 'vitest';
import { IdTree, idFromBytes, MAX_LEAF_IDS, treeId, treeKey, treeKeyBytes, treeKeyOf } from '../../../src/log/index.ts';
import { testId } from './helpers.ts';

/** An id whose digest begins with these bytes; short alphabets make deep trees. */
function idWith(start: readonly number[]): CID {
  const digest = new Uint8Array(32);
  digest.set(start);
  return idFromBytes(Uint8Array.of(0x01, 0x71, 0x12, 0x20, ...digest));
}

const someId = fc.oneof(
  fc.array(fc.constantFrom(0, 1, 16, 17, 255), { minLength: 4, maxLength: 4 }).map(idWith),
  fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => idWith([...bytes])),
);
const digits = (id: CID) => Buffer.from(treeKeyBytes(treeKey(id))).toString('hex');

describe('a tree of ids', () => {
  test('has what a plain set has, under every prefix, whatever was added and deleted', () => {
    const step = fc.record({ add: fc.boolean(), id: someId });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const tree = new IdTree();
        const oracle = new Map<string, CID>();
        for (const { add, id } of steps) {
          const key = digits(id);
          if (add) {
            expect(tree.add(id)).toBe(!oracle.has(key));
            oracle.set(key, id);
          } else expect(tree.delete(id)).toBe(oracle.delete(key));
        }
        const all = [...oracle.keys()].sort();
        expect(tree.size).toBe(all.length);
        for (const key of all.slice(0, 20)) expect(tree.has(oracle.get(key)!)).toBe(true);
        expect(tree.has(testId(1))).toBe(false);
        for (const prefix of ['', '0', '01', '011', '0110', '01100', 'ff', ...all.slice(0, 5)]) {
          const under = all.filter((key) => key.startsWith(prefix));
          const subtree = tree.at(prefix);
          expect(Array.from(subtree.keys(), (key) => digits(treeId(key)))).toEqual(under);
          expect(subtree.size).toBe(under.length);
          expect(subtree.isLeaf).toBe(under.length <= MAX_LEAF_IDS);
          // Of the set alone: the same from another history.
          const again = new IdTree(under.toReversed().map((key) => oracle.get(key)!));
          expect(again.at(prefix).digest).toEqual(subtree.digest);
        }
      }),
      { numRuns: 60 },
    );
  });

  test('has another digest for another set', () => {
    fc.assert(
      fc.property(fc.uniqueArray(someId, { maxLength: 80, selector: digits }), someId, (ids, other) => {
        const tree = new IdTree(ids);
        const { digest } = tree.at();
        const changed = tree.snapshot();
        if (!changed.add(other)) changed.delete(other);
        expect(changed.at().digest).not.toEqual(digest);
        expect(tree.at().digest).toEqual(digest);
      }),
      { numRuns: 100 },
    );
  });

  test('splits a leaf at one id more than it has places for, and joins it again', () => {
    const ids = Array.from({ length: MAX_LEAF_IDS + 1 }, (_, i) => testId(i));
    const tree = new IdTree(ids.slice(0, MAX_LEAF_IDS));
    const { digest } = tree.at();
    expect(tree.at().isLeaf).toBe(true);
    tree.add(ids.at(-1)!);
    expect(tree.at().isLeaf).toBe(false);
    tree.delete(ids.at(-1)!);
    expect(tree.at().isLeaf).toBe(true);
    expect(tree.at().digest).toEqual(digest);
  });

  test('a snapshot stays as it is', () => {
    const tree = new IdTree([testId(1)]);
    const snapshot = tree.snapshot();
    tree.add(testId(2));
    tree.delete(testId(1));
    expect([snapshot.size, snapshot.has(testId(1)), snapshot.has(testId(2))]).toEqual([1, true, false]);
    expect([tree.size, tree.has(testId(1)), tree.has(testId(2))]).toEqual([1, false, true]);
  });

  test('takes ten thousand ids, and a new digest after each of the last hundred, in well under a second', () => {
    const ids = Array.from({ length: 10_000 }, (_, i) => testId(i));
    const before = process.cpuUsage();
    const tree = new IdTree(ids.slice(0, 9_900));
    for (const id of ids.slice(9_900)) {
      tree.add(id);
      tree.at();
      void tree.at().digest;
    }
    expect(process.cpuUsage(before).user / 1_000).toBeLessThan(1_000);
    expect(tree.size).toBe(10_000);
  });

  test('names an id by its digest', () => {
    const id = testId(7);
    expect(treeId(treeKey(id)).equals(id)).toBe(true);
    expect(treeKeyOf(id.multihash.digest)).toBe(treeKey(id));
  });
});
