import type { CID } from 'multiformats/cid';
import type { Step } from '../../src/history/index.ts';
import type { Decision } from '../../src/kinship/index.ts';
import { parsePolicy } from '../../src/kinship/index.ts';
import {
  amendRules,
  charterRules,
  continuesRules,
  keyFromText,
  keyToText,
  membersBy,
  type RuleChanges,
  type Rules,
  type SignedAmendment,
  type SignedRecord,
} from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import type { Community } from '../core/community.ts';
import type { ChangesDocument } from './describe-record.ts';
import { describeChanges } from './describe-record.ts';
import type { DryRunDocument, RuleSections, RulesDocument } from './documents.ts';

/** Changes of the rules from their text form. @throws LogError `BAD_KEY_TEXT`; KinshipError for limits that make no policy */
export function readChanges({ membership, budgets, admission, sealers }: ChangesDocument): RuleChanges {
  const keys = (texts: readonly string[]) => texts.map(keyFromText).sort(Buffer.compare);
  return {
    membership: membership
      ? { open: membership.open, add: keys(membership.add), remove: keys(membership.remove) }
      : null,
    budgets: budgets ?? null,
    admission: admission ? parsePolicy(admission) : null,
    sealers: sealers ? { keys: keys(sealers.keys), threshold: sealers.threshold } : null,
  };
}

/** The rules in effect, and the amendments that wait for a seal. */
export async function describeRulesInEffect(community: Community): Promise<RulesDocument> {
  const { charter } = community.options;
  const { rules, records, seals } = await community.settled();
  const amendments = describeAmendments(charterRules(charter), records, seals.at(-1)?.records ?? 0);
  return {
    amendment: rules.amendment?.number ?? 0,
    owner: keyToText(charter.owner),
    ...describeSections(rules),
    charter: describeSections(charterRules(charter)),
    pending: amendments.filter(({ state }) => state === 'pending').map(({ state: _, ...amendment }) => amendment),
    amendments,
  };
}

function describeSections(rules: Rules): RuleSections {
  const { open, budgets, admission, sealers } = rules;
  return {
    membership: { open, members: membersBy(rules).map(keyToText) },
    budgets,
    admission,
    sealers: { keys: sealers.keys.map(keyToText), threshold: sealers.threshold },
  };
}

/** @param sealed - records that a seal covers, from the first one on */
function describeAmendments(
  first: Rules,
  records: readonly SignedRecord[],
  sealed: number,
): RulesDocument['amendments'] {
  let rules = first;
  return records.flatMap((signed, place) => {
    if (signed.record.kind !== 'amendment') return [];
    const amendment = signed as SignedAmendment;
    const continues = continuesRules(rules, amendment);
    if (continues) rules = amendRules(rules, amendment);
    const { number, note } = amendment.record;
    const state = !continues ? 'void' : place < sealed ? 'in effect' : 'pending';
    return [{ id: amendment.id.toString(), number, note, state, changes: describeChanges(amendment.record) }];
  });
}

/** What would have been decided otherwise, had these admission limits and budgets held from the beginning. */
export async function dryRun(
  community: Community,
  { admission, budgets }: Pick<RuleChanges, 'admission' | 'budgets'>,
  run: RunOptions,
): Promise<DryRunDocument> {
  const view = await community.settled();
  const { steps } = community.historian.stepsSoFar();
  const others: Step[] = [];
  let untried = 0;
  for (const step of steps) {
    if (step.kind === 'policy') others.push(admission === null ? step : { ...step, policy: admission });
    else if (step.kind === 'take-out') others.push(step);
    else {
      // What a seal decided is decided anew, where there is something to decide on.
      const kept = step.adopted !== undefined && !(await isStored(community, step.update.payload));
      if (kept) untried++;
      const { budget } = step.update;
      const update = budgets === null ? step.update : { ...step.update, budget: { ...budget, most: budgets } };
      others.push(kept ? step : { kind: 'update', update });
    }
  }
  const results = await community.judge.tryOut(others, run);
  const differs: { update: string; was: string | null; would: string | null; title: string }[] = [];
  for (const [place, step] of others.entries()) {
    if (step.kind !== 'update') continue;
    const was = view.decisions.get(step.update.id);
    const would = results[place] as Decision;
    if (was === undefined || was.gate === would.gate) continue;
    differs.push({
      update: step.update.id,
      was: was.gate,
      would: would.gate,
      title: titleOf(community, step.update.cid),
    });
  }
  const accepted = results.filter((result) => typeof result === 'object' && result?.accepted === true).length;
  return { updates: view.updates.length, accepted, untried, differs };
}

async function isStored({ book }: Community, payload: CID): Promise<boolean> {
  const size = book.log.payloadSize(payload);
  return size !== undefined && (await book.payloads.blobs.has(payload, size));
}

function titleOf(community: Community, id: CID): string {
  const record = community.book.log.get(id)?.record;
  return record?.kind === 'update' ? record.title : '';
}
