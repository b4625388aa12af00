import type { CID } from 'multiformats/cid';
import type { Log, SignedRecord } from '../../src/log/index.ts';

/**
 * The records that peers sent and that wait here. A peer is told of those it sent, so that the next round goes on after
 * them; no other peer is, since it would come to ask for what this node cannot give yet.
 */
export class WaitingRecords {
  readonly #log: Pick<Log, 'state'>;
  readonly #bySource = new Map<string, Map<string, SignedRecord>>();

  constructor(log: Pick<Log, 'state'>) {
    this.#log = log;
  }

  /** Call it in the order in which the peer sends: parents first. */
  add(source: string, signed: SignedRecord): void {
    const records = this.#bySource.get(source) ?? new Map<string, SignedRecord>();
    records.set(signed.id.toString(), signed);
    this.#bySource.set(source, records);
  }

  /**
   * The last of the records of this peer that wait, with nothing of theirs missing: who names one as known gets none of
   * its ancestors.
   */
  tips(source: string): CID[] {
    const records = this.#bySource.get(source);
    if (records === undefined) return [];
    const tips = new Map<string, CID>();
    const whole = new Set<string>();
    for (const [key, { id, record }] of records) {
      if (this.#log.state(id) !== 'pending') {
        records.delete(key);
        continue;
      }
      const parents = record.parents.map(String);
      const isWhole = parents.every(
        (parent, place) => whole.has(parent) || this.#log.state(record.parents[place]!) === 'held',
      );
      if (!isWhole) continue;
      whole.add(key);
      for (const parent of parents) tips.delete(parent);
      tips.set(key, id);
    }
    if (records.size === 0) this.#bySource.delete(source);
    return [...tips.values()];
  }

  /** Forgets the records of all other peers. */
  keepOnly(sources: ReadonlySet<string>): void {
    for (const source of this.#bySource.keys()) if (!sources.has(source)) this.#bySource.delete(source);
  }
}
