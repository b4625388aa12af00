import { charterRules, keyToText } from '../../src/log/index.ts';
import type { Community } from '../core/community.ts';
import type { View } from '../core/view.ts';
import type { SealedDocument, StatusDocument } from './documents.ts';

/** The last applied seal and what it makes final; null while nothing is sealed. */
export function describeSealed({ seals, sealed, records }: View): SealedDocument | null {
  const last = seals.at(-1);
  if (last === undefined || sealed === null) return null;
  return {
    number: last.number,
    seal: last.id.toString(),
    recipe: sealed.recipeId.toString(),
    updates: sealed.accepted.length,
    records: last.records,
    tail: records.length - last.records,
    state: seals.every(({ replayed }) => replayed) ? 'replayed' : 'adopted, not replayed',
  };
}

export function describeRules(community: Community, view: View | undefined): StatusDocument['rules'] {
  const { amendment, sealers } = view?.rules ?? charterRules(community.options.charter);
  const number = amendment?.number ?? 0;
  return {
    amendment: number,
    pending: Math.max(0, (community.book.log.amendmentTip()?.number ?? 0) - number),
    sealers: { keys: sealers.keys.map(keyToText), threshold: sealers.threshold },
  };
}
