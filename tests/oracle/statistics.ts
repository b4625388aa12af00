/** What a history is a test of. */

import { statesToKeep } from '../../node/core/fold-states.ts';
import { DEFAULT_FOLD_STATES } from '../../node/core/limits.ts';
import type { Oracle } from './drive.ts';
import type { Delivery, Item } from './generate/deliveries.ts';
import type { Made } from './generate/signing.ts';
import type { Writing } from './generate/writing.ts';
import type { Outcome } from './index.ts';

/** Late updates that are tried for one that changes something. */
const CANDIDATES = 6;

export const FEATURES = [
  'lateUpdateFlipsDecision',
  'insertionBeforeSnapshot',
  'withheldPayload',
  'revocation',
  'revocationOfSealed',
  'equivocation',
  'equivocationAcrossSeal',
  'twoSeals',
  'doubleSeal',
  'mismatchingSeal',
  'waitingSeal',
  'amendmentInEffect',
] as const;
export type Feature = (typeof FEATURES)[number];

/** An update that nobody built on, which changes as much as possible when it comes last. */
export function chooseLate({ records }: Writing, everything: readonly Item[], oracle: Oracle): Made | null {
  const named = new Set(records.flatMap(({ rec }) => rec.parents));
  const leaves = records.filter(({ rec }) => rec.kind === 'update' && !named.has(rec.id)).slice(-CANDIDATES);
  const after = oracle.of(everything);
  const score = (late: Made): number => {
    const before = oracle.of(without(everything, late));
    return Number(flips(before, after)) + Number(insertsBeforeSnapshot(before, after));
  };
  const scored = leaves.map((late) => ({ late, score: score(late) })).sort((a, b) => b.score - a.score);
  return scored[0]?.late ?? null;
}

export function without(items: readonly Item[], late: Made): Item[] {
  return items.filter((item) => !(item.kind === 'record' && item.made === late));
}

/** Whether an update that is decided in both is accepted in one of them only. */
export function flips(before: Outcome, after: Outcome): boolean {
  const decided = ({ sections, decisions }: Outcome) =>
    new Map(sections.flat().map((id, at) => [id, decisions[at]!] as const));
  const now = decided(after);
  return [...decided(before)].some(([id, byte]) => now.has(id) && (byte === 0) !== (now.get(id) === 0));
}

/**
 * Whether something new stands in the recipe before a position of which a node keeps a state of the fold, other than the
 * newest state.
 */
export function insertsBeforeSnapshot(before: Outcome, after: Outcome): boolean {
  let kept: number[] = [];
  for (let folded = 1; folded <= before.recipe.length; folded++) {
    const made = { lengths: [...kept, folded], folded, sealed: before.sealedRecipe.length };
    kept = statesToKeep(made, DEFAULT_FOLD_STATES);
  }
  const had = new Set(before.recipe);
  const inserted = after.recipe.findIndex((id) => !had.has(id));
  return inserted >= 0 && kept.some((position) => position < before.recipe.length && inserted < position);
}

export function featuresOf(
  writing: Writing,
  deliveries: readonly Delivery[],
  late: Made | null,
  oracle: Oracle,
): Set<Feature> {
  const features = new Set<Feature>();
  const note = (feature: Feature, present: boolean): void => {
    if (present) features.add(feature);
  };
  const [first, , third] = deliveries;
  const whole = oracle.of(first!.items);
  const part = oracle.of(third!.items);
  if (late !== null) {
    const before = oracle.of(without(first!.items, late));
    note('lateUpdateFlipsDecision', flips(before, whole));
    note('insertionBeforeSnapshot', insertsBeforeSnapshot(before, whole));
  }
  const stored = new Set(third!.items.flatMap((item) => (item.kind === 'payload' ? [item.id] : [])));
  const named = third!.items.flatMap((item) =>
    item.kind === 'record' && item.made.rec.kind === 'update' ? [item.made.rec] : [],
  );
  note(
    'withheldPayload',
    named.some(({ payload }) => !stored.has(payload)),
  );

  const epochOf = new Map(whole.sections.flatMap((ids, section) => ids.map((id) => [id, section] as const)));
  const held = writing.records.filter(({ rec }) => epochOf.has(rec.id)).map(({ rec }) => rec);
  note('revocation', whole.out.length > 0);
  note(
    'revocationOfSealed',
    held.some(
      (rec) =>
        rec.kind === 'revocation' && whole.out.includes(rec.target) && epochOf.get(rec.target)! < epochOf.get(rec.id)!,
    ),
  );
  const doubles = held.filter((rec) =>
    held.some((other) => other !== rec && other.author === rec.author && other.seq === rec.seq),
  );
  note('equivocation', doubles.length > 0);
  note(
    'equivocationAcrossSeal',
    doubles.some((rec) =>
      doubles.some(
        (other) =>
          other.author === rec.author && other.seq === rec.seq && epochOf.get(other.id) !== epochOf.get(rec.id),
      ),
    ),
  );
  note('twoSeals', whole.seals.length >= 2);
  note('doubleSeal', whole.trouble?.why === 'double' || part.trouble?.why === 'double');
  note('mismatchingSeal', whole.trouble?.why === 'mismatch' || part.trouble?.why === 'mismatch');
  note('waitingSeal', whole.trouble?.why === 'waiting' || part.trouble?.why === 'waiting');
  note('amendmentInEffect', whole.rules.number > 0);
  return features;
}
