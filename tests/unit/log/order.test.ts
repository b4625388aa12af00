import fc from 'fast-check';
import type { CID } from 'multiformats/cid';
import { describe, expect, it } from 'vitest';
import { canonicalOrder, canonicalOrderOf, type Orderable, sha256 } from '../../../src/log/index.ts';
import { codeOf, testId } from './helpers.ts';

const salt = testId(1_000_000).bytes;
const make = (n: number, parents: number[] = []): Orderable => ({
  id: testId(n),
  record: { parents: parents.map((parent) => testId(parent)) },
});
const texts = (ids: readonly CID[]): string[] => ids.map((id) => id.toString());
const rank = (id: CID, by: Uint8Array): string => Buffer.from(sha256(by, id.bytes)).toString('hex');

/** A random graph: the parents of record i are records before it. */
const graphs = fc
  .array(fc.array(fc.nat(1_000), { maxLength: 3 }), { minLength: 1, maxLength: 30 })
  .map((rows) => rows.map((row, i) => make(i, i === 0 ? [] : [...new Set(row.map((r) => r % i))])));

/** The rule as it is written: of the ready records always the one with the smallest rank. */
function slowOrder(records: readonly Orderable[]): string[] {
  const left = new Map(records.map((r) => [r.id.toString(), r]));
  const order: string[] = [];
  while (left.size > 0) {
    const ready = [...left.values()].filter((r) => r.record.parents.every((p) => !left.has(p.toString())));
    ready.sort((a, b) => (rank(a.id, salt) < rank(b.id, salt) ? -1 : 1));
    order.push(ready[0]!.id.toString());
    left.delete(order.at(-1)!);
  }
  return order;
}

describe('canonical order', () => {
  it('is that of the plain rule, for any graph and any order of arrival', () => {
    fc.assert(
      fc.property(
        graphs.chain((graph) => fc.tuple(fc.constant(graph), fc.shuffledSubarray(graph, { minLength: graph.length }))),
        ([graph, shuffled]) => {
          const expected = slowOrder(graph);
          expect(texts(canonicalOrder(graph, salt))).toEqual(expected);
          expect(texts(canonicalOrder(shuffled, salt))).toEqual(expected);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('depends on the salt, and puts unrelated records in the order of their salted hash', () => {
    const records = Array.from({ length: 20 }, (_, i) => make(i));
    const other = testId(2_000_000).bytes;
    for (const by of [salt, other]) {
      const expected = records.map(({ id }) => id).sort((a, b) => (rank(a, by) < rank(b, by) ? -1 : 1));
      expect(texts(canonicalOrder(records, by))).toEqual(texts(expected));
    }
    expect(texts(canonicalOrder(records, salt))).not.toEqual(texts(canonicalOrder(records, other)));
  });

  it('ignores parents outside the set and takes a repeated record once', () => {
    expect(texts(canonicalOrder([make(1, [77]), make(1, [77])], salt))).toEqual([testId(1).toString()]);
    expect(canonicalOrder([], salt)).toEqual([]);
  });

  it('puts an epoch before the next, whatever the hashes and parents say', () => {
    const sections = [
      { records: [make(3, [4]), make(1)], salt },
      { records: [make(4), make(2), make(1)], salt: testId(5).bytes },
    ];
    const order = texts(canonicalOrderOf(sections));
    expect(order.slice(0, 2).sort()).toEqual(texts([testId(1), testId(3)]).sort());
    expect(order.slice(2).sort()).toEqual(texts([testId(2), testId(4)]).sort());
  });

  it('refuses a cycle', () => {
    expect(codeOf(() => canonicalOrder([make(1, [2]), make(2, [1])], salt))).toBe('PARENT_CYCLE');
  });

  it('orders a chain of 100,000 records and 100,000 unrelated ones without deep recursion', () => {
    const all = Array.from({ length: 100_000 }, (_, i) => testId(i));
    const chain = all.map((id, i) => ({ id, record: { parents: i === 0 ? [] : [all[i - 1]!] } }));
    const order = canonicalOrder(chain.toReversed(), salt);
    expect(order.every((id, i) => id === all[i])).toBe(true);
    const flat = all.map((id) => ({ id, record: { parents: [] } }));
    expect(canonicalOrder(flat, salt)).toHaveLength(100_000);
  }, 60_000);
});
