import type { Command } from 'commander';
import { parsePolicy } from '../../../src/kinship/index.ts';
import { NodeError } from '../../errors.ts';
import type { ChangesDocument } from '../../service/describe-record.ts';
import type { RuleSections } from '../../service/documents.ts';
import { collectKeys, parseCount, parsePositiveCount } from '../parse.ts';
import { type LimitOptions, limitsFrom, withLimitOptions } from './limit-options.ts';

/** Rules that an amendment is to set, as `policy set` and `policy dry-run` take them. */
export interface RuleOptions extends LimitOptions {
  readonly budgetUpdates?: number;
  readonly budgetBytes?: number;
  readonly sealer?: string[];
  readonly sealerThreshold?: number;
  readonly open?: boolean;
}

export function withRuleOptions(command: Command): Command {
  return withLimitOptions(command)
    .option('--budget-updates <n>', 'updates that one author may publish', parsePositiveCount)
    .option('--budget-bytes <bytes>', 'payload bytes that one author may publish', parsePositiveCount)
    .option('--sealer <key>', 'who seals from then on, instead of those who do now; may be repeated', collectKeys)
    .option('--sealer-threshold <n>', 'signatures that a seal needs; this version makes seals with one', parseCount)
    .option('--open', 'let anybody contribute (read the security notes first)')
    .option('--no-open', 'let members alone contribute');
}

/**
 * The sections that the flags change, whole: what they do not name stays as it is in `rules`. Empty without flags.
 *
 * @param rules - in effect, and what is pending
 * @throws NodeError `USAGE`, KinshipError for limits that make no policy
 */
export function changesFrom(options: RuleOptions, rules: RuleSections): ChangesDocument {
  const { budgetUpdates, budgetBytes, sealer, sealerThreshold, open } = options;
  const limits = limitsFrom(options, rules.admission);
  const { budgets } = rules;
  return {
    ...(open !== undefined && { membership: { open, add: [], remove: [] } }),
    ...((budgetUpdates !== undefined || budgetBytes !== undefined) && {
      budgets: { updates: budgetUpdates ?? budgets.updates, bytes: budgetBytes ?? budgets.bytes },
    }),
    ...(Object.keys(limits).length > 0 && { admission: parsePolicy({ ...rules.admission, ...limits }) }),
    ...((sealer !== undefined || sealerThreshold !== undefined) && {
      sealers: sealersFrom(sealer ?? rules.sealers.keys, sealerThreshold ?? 1),
    }),
  };
}

function sealersFrom(keys: readonly string[], threshold: number) {
  if (threshold === 1) return { keys, threshold };
  // A community whose seals nobody can make could not even take this back.
  const text = `--sealer-threshold ${threshold} would end sealing for good: this version makes seals with one signature`;
  throw new NodeError('USAGE', text, { threshold });
}
