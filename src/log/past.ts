import type { CID } from 'multiformats/cid';
import { authorKey } from './author-key.ts';
import { compareBytes } from './canonical.ts';
import { type Charter, isMember } from './charter.ts';
import type { SignedAmendment } from './rules.ts';

/**
 * What the charter and the amendments among a record's ancestors have ever allowed: validity is judged by it, so that every
 * node judges alike, whatever seals it knows. Which of it is in effect is for admission.
 */
export interface Past {
  /** The amendment tip; null for the charter alone. */
  readonly tip: { readonly number: number; readonly id: CID } | null;
  /** The largest of each. */
  readonly budgets: Charter['budgets'];
  readonly maxPayloadBytes: number;
  /** Whether this author was ever allowed to contribute. */
  wasMember(author: Uint8Array): boolean;
}

export function charterPast(charter: Charter): Past {
  return {
    tip: null,
    budgets: charter.budgets,
    maxPayloadBytes: charter.admission.maxPayloadBytes,
    wasMember: (author) => isMember(charter, author),
  };
}

/** The past of what has this amendment, whose own past is given, as its tip. */
export function amendedPast(before: Past, { id, record }: SignedAmendment): Past {
  const { membership, budgets, admission, number } = record;
  const added = new Set((membership?.add ?? []).map(authorKey));
  const open = membership?.open === true;
  return {
    tip: { number, id },
    budgets: {
      updates: Math.max(before.budgets.updates, budgets?.updates ?? 0),
      bytes: Math.max(before.budgets.bytes, budgets?.bytes ?? 0),
    },
    maxPayloadBytes: Math.max(before.maxPayloadBytes, admission?.maxPayloadBytes ?? 0),
    wasMember:
      !open && added.size === 0
        ? before.wasMember
        : (author) => open || added.has(authorKey(author)) || before.wasMember(author),
  };
}

/** Of several pasts the one with the largest number; of two with one number, that of the smaller id. */
export function latestPast(pasts: Iterable<Past>, charter: Past): Past {
  let latest = charter;
  for (const past of pasts) if (isLater(past, latest)) latest = past;
  return latest;
}

function isLater({ tip }: Past, { tip: other }: Past): boolean {
  if (tip === null) return false;
  if (other === null || tip.number > other.number) return true;
  return tip.number === other.number && compareBytes(tip.id.bytes, other.id.bytes) < 0;
}
