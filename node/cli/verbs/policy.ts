import type { Command } from 'commander';
import { NodeError } from '../../errors.ts';
import type { ChangesDocument } from '../../service/describe-record.ts';
import type { DryRunDocument, RulesDocument } from '../../service/documents.ts';
import {
  areSame,
  differences,
  differencesBetween,
  lastAmendment,
  rulesToCome,
  withChanges,
} from '../../service/rule-sections.ts';
import type { CommonOptions, Register } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { table } from '../output.ts';
import { parseCount } from '../parse.ts';
import { withService } from '../with-service.ts';
import { renderAmendment, renderDifferences, renderRules } from './render-rules.ts';
import { changesFrom, type RuleOptions, withRuleOptions } from './rule-options.ts';

interface SetOptions extends CommonOptions, RuleOptions {
  readonly note?: string;
}

/** The verbs that look at the rules and change them: `policy show`, `set`, `diff` and `dry-run`. */
export function policyVerbs(program: Command, register: Register): void {
  const policy = program.command('policy').description('show, change and try the rules of the community');
  register(
    policy.command('show').description('show the rules in effect, and what waits for a seal'),
    async (context) => {
      const rules = await withService(context, (service) => service.rules());
      context.output.result(rules, () => renderRules(rules));
      return EXIT.done;
    },
  );
  const set = policy
    .command('set')
    .description('as the owner, sign an amendment that changes the rules from the next seal on')
    .option('--note <text>', 'why, for everybody to read');
  register<SetOptions>(withRuleOptions(set), async (context, _args, options) => {
    const amendment = await withService(context, async (service) =>
      service.amend({ changes: changesToSet(options, await service.rules()), note: options.note }),
    );
    context.output.result(amendment, () => renderAmendment(amendment));
    return EXIT.done;
  });
  const diff = policy
    .command('diff')
    .argument('[from]', 'number of an amendment, 0 for the charter (default: the rules in effect)', parseNumberWord)
    .argument('[to]', 'number of an amendment (default: the last one, pending or not)', parseNumberWord)
    .description('list what amendments change');
  register(diff, async (context, [from, to]) => {
    const rules = await withService(context, (service) => service.rules());
    const number = (word: string | undefined, otherwise: number) => (word === undefined ? otherwise : Number(word));
    const found = differencesBetween(rules, number(from, rules.amendment), number(to, lastAmendment(rules)));
    context.output.result(found, () => renderDifferences(found));
    return EXIT.done;
  });
  const dryRun = policy
    .command('dry-run')
    .description('list which updates other rules (default: those that are pending) would have decided otherwise');
  register<SetOptions>(withRuleOptions(dryRun), async (context, _args, options) => {
    const run = { signal: context.signal, onProgress: context.output.progress };
    const tried = await withService(context, async (service) =>
      service.dryRun(changesToTry(options, await service.rules()), run),
    );
    context.output.result(tried, () => renderDryRun(tried));
    return EXIT.done;
  });
}

/** @throws NodeError `USAGE` when nothing would change */
export function changesToSet(options: RuleOptions, rules: RulesDocument): ChangesDocument {
  const before = rulesToCome(rules);
  const changes = changesFrom(options, before);
  if (Object.keys(changes).length === 0) {
    throw new NodeError('USAGE', 'name what to set: see `kinmerge policy set --help`');
  }
  if (areSame(differences(before, withChanges(before, changes)))) {
    throw new NodeError('USAGE', 'that is what the rules say already: see `kinmerge policy show`');
  }
  return changes;
}

/** Limits and budgets after the pending amendments and these flags. @throws NodeError `USAGE` when there are none to try */
export function changesToTry(options: RuleOptions, rules: RulesDocument): ChangesDocument {
  const pending = rules.pending.map(({ changes }) => changes);
  const named = [...pending, changesFrom(options, rulesToCome(rules))];
  const { admission, budgets }: ChangesDocument = Object.assign({}, ...named);
  if (admission === undefined && budgets === undefined) {
    throw new NodeError(
      'USAGE',
      'no limits and no budgets to try: give some (`kinmerge policy dry-run --help`); none are pending',
    );
  }
  return { ...(admission && { admission }), ...(budgets && { budgets }) };
}

export function renderDryRun({ updates, accepted, untried, differs }: DryRunDocument): string {
  const summary = `${accepted} of ${updates} updates would be accepted, had these rules held from the beginning`;
  const kept = untried === 0 ? [] : [`${untried} stay as their seal decided: their payloads are not here any more`];
  if (differs.length === 0) return [`${summary}: nothing would have been decided otherwise`, ...kept].join('\n');
  const verdict = (gate: string | null) => (gate === null ? 'accepted' : `declined (${gate})`);
  return [
    summary,
    ...kept,
    table([
      ['update', 'was', 'would be', 'title'],
      ...differs.map(({ update, was, would, title }) => [update, verdict(was), verdict(would), title]),
    ]),
  ].join('\n');
}

/** Arguments travel as text: checked here, a number later. */
function parseNumberWord(text: string): string {
  return String(parseCount(text));
}
