import type { CID } from 'multiformats/cid';

/**
 * Which ids to name as known: the tips, then records of the canonical order at distances 1, 2, 4, … from its end, then
 * as many more as fit at even distances. A peer whose log went another way after some point finds a common record near
 * that point, and sends little twice.
 *
 * @param order - held records, parents before children
 */
export function locate(tips: readonly CID[], order: readonly CID[], limit: number): CID[] {
  const seen = new Set<string>();
  const ids: CID[] = [];
  const add = (id: CID | undefined): void => {
    if (id === undefined || ids.length >= limit || seen.has(id.toString())) return;
    seen.add(id.toString());
    ids.push(id);
  };
  for (const tip of tips) add(tip);
  for (let distance = 1; distance <= order.length; distance *= 2) add(order[order.length - distance]);
  const free = limit - ids.length;
  const step = Math.max(1, Math.ceil(order.length / Math.max(1, free)));
  for (let place = order.length - 1; place >= 0; place -= step) add(order[place]);
  return ids;
}
