/** Something to fetch, and on whose behalf. */
export interface Wanted {
  readonly key: string;
  /** Who signed the record that needs it; undefined when unknown. */
  readonly author: string | undefined;
  /** The peer that brought the record; undefined when unknown. */
  readonly source: string | undefined;
  /** Tries that brought nothing. */
  readonly tries: number;
}

/**
 * The order in which to fetch: what was tried least first, and then by turns, so that neither an author nor a peer with
 * many records that nobody can serve holds up those of the others.
 */
export function inTurns<T extends Wanted>(wanted: readonly T[]): T[] {
  const byTries = wanted.map((item, arrival) => ({ item, arrival })).sort((a, b) => a.item.tries - b.item.tries);
  const counts = new Map<string, number>();
  const place = (group: string): number => {
    const taken = counts.get(group) ?? 0;
    counts.set(group, taken + 1);
    return taken;
  };
  return byTries
    .map(({ item, arrival }) => {
      const author = item.author === undefined ? 0 : place(`author ${item.author}`);
      const source = item.source === undefined ? 0 : place(`source ${item.source}`);
      return { item, arrival, turn: author + source + item.tries };
    })
    .sort((a, b) => a.turn - b.turn || a.arrival - b.arrival)
    .map(({ item }) => item);
}
