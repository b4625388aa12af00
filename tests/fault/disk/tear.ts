/** Disks write whole sectors; what a controller does with one of them is not promised either. In bytes. */
const SECTOR_BYTES = 512;

export interface LastWrite {
  readonly from: number;
  readonly until: number;
}

/**
 * A file whose last write, which no sync covered, is on the disk only up to some sector or some byte. Of the writes before
 * it that were not synced either all or none are there: disks do not keep their order. Beyond the tear the file ends, or
 * has the bytes that were safe, or zeros when only its new length was written.
 */
export function tear(
  { safe, now, last }: { safe: Uint8Array; now: Uint8Array; last: LastWrite },
  draw: () => number,
): Uint8Array {
  const from = Math.min(last.from, now.length);
  const until = Math.min(last.until, now.length);
  const bytes = from + Math.floor(draw() * (until - from));
  const cut = draw() < 0.5 ? bytes : Math.max(from, bytes - (bytes % SECTOR_BYTES));
  const before = draw() < 0.5 ? now : safe;
  const extended = draw() < 0.5 ? until : cut;
  const rest = before.length > until ? before.length : 0;
  const torn = new Uint8Array(Math.max(cut, extended, rest, safe.length, before === now ? from : 0));
  torn.set(safe);
  torn.set(before.subarray(0, from));
  if (rest > 0) torn.set(before.subarray(until), until);
  torn.set(now.subarray(from, cut), from);
  return torn;
}
