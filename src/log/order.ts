import type { CID } from 'multiformats/cid';
import { compareBytes, idKey, sha256 } from './canonical.ts';
import { LogError } from './errors.ts';

/** What order depends on: ids and declared parents, nothing else. */
export interface Orderable {
  readonly id: CID;
  readonly record: { readonly parents: readonly CID[] };
}

/** The records of one epoch, or of the tail, with the salt that their order hangs on. */
export interface OrderSection {
  readonly records: Iterable<Orderable>;
  /** Bytes of the previous seal's id; of the charter's id before the first seal. */
  readonly salt: Uint8Array;
}

interface Node {
  readonly id: CID;
  readonly rank: Uint8Array;
  readonly children: Node[];
  waiting: number;
}

/**
 * The canonical order of a set of records: Kahn's algorithm over the declared parents, always taking the ready record
 * with the smallest sha256(salt ‖ record id). Neither the order of arrival nor a number that an author can choose
 * freely takes part. Parents outside the set count as already ordered. O(n log n) in time, O(n) in memory.
 *
 * @param salt - bytes of the charter's id, or of the previous seal's
 * @throws LogError `PARENT_CYCLE`
 */
export function canonicalOrder(records: Iterable<Orderable>, salt: Uint8Array): CID[] {
  const nodes = new Map<string, Node>();
  const parents = new Map<Node, readonly CID[]>();
  for (const { id, record } of records) {
    const key = idKey(id);
    if (nodes.has(key)) continue;
    const node: Node = { id, rank: sha256(salt, id.bytes), children: [], waiting: 0 };
    nodes.set(key, node);
    parents.set(node, record.parents);
  }
  const ready = new Heap();
  for (const [node, ids] of parents) {
    for (const id of ids) {
      const parent = nodes.get(idKey(id));
      if (parent === undefined) continue;
      parent.children.push(node);
      node.waiting++;
    }
    if (node.waiting === 0) ready.push(node);
  }
  const order: CID[] = [];
  for (let node = ready.pop(); node !== undefined; node = ready.pop()) {
    order.push(node.id);
    for (const child of node.children) {
      if (--child.waiting === 0) ready.push(child);
    }
  }
  if (order.length !== nodes.size) {
    throw new LogError('PARENT_CYCLE', 'records name each other as parents: these are no real record ids', {
      records: nodes.size,
      ordered: order.length,
    });
  }
  return order;
}

/** Epochs ascending, then the tail; a record counts where it is named first. */
export function canonicalOrderOf(sections: Iterable<OrderSection>): CID[] {
  const seen = new Set<string>();
  const order: CID[] = [];
  for (const { records, salt } of sections) {
    const fresh = [...records].filter(({ id }) => !seen.has(idKey(id)));
    for (const id of canonicalOrder(fresh, salt)) {
      seen.add(idKey(id));
      order.push(id);
    }
  }
  return order;
}

/** Binary heap with the smallest rank on top. */
class Heap {
  readonly #nodes: Node[] = [];

  push(node: Node): void {
    const nodes = this.#nodes;
    let at = nodes.length;
    nodes.push(node);
    while (at > 0) {
      const up = (at - 1) >>> 1;
      if (compareBytes(nodes[up]!.rank, node.rank) <= 0) break;
      nodes[at] = nodes[up]!;
      at = up;
    }
    nodes[at] = node;
  }

  pop(): Node | undefined {
    const nodes = this.#nodes;
    const top = nodes[0];
    const last = nodes.pop();
    if (top === undefined || last === undefined || nodes.length === 0) return top;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= nodes.length) break;
      if (down + 1 < nodes.length && compareBytes(nodes[down + 1]!.rank, nodes[down]!.rank) < 0) down++;
      if (compareBytes(last.rank, nodes[down]!.rank) <= 0) break;
      nodes[at] = nodes[down]!;
      at = down;
    }
    nodes[at] = last;
    return top;
  }
}
