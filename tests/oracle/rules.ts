/** docs/log-format.md: Rules. */

import type { Charter } from '../../src/log/index.ts';
import { type Admission, type Amendment, type Budgets, hex, type Id, type Key, type Sealers } from './documents.ts';

export interface Rules {
  readonly open: boolean;
  /** Ascending. */
  readonly members: readonly Key[];
  readonly budgets: Budgets;
  readonly admission: Admission;
  readonly sealers: Sealers;
  readonly number: number;
  /** The last amendment, null for the charter. */
  readonly last: Id | null;
}

export function charterRules(charter: Charter): Rules {
  return {
    open: charter.membership === 'open',
    members: charter.membership === 'open' ? [] : charter.membership.map(hex),
    budgets: charter.budgets,
    admission: charter.admission,
    sealers: { keys: charter.sealers.keys.map(hex), threshold: charter.sealers.threshold },
    number: 0,
    last: null,
  };
}

export function continues(rules: Rules, amendment: Amendment): boolean {
  return amendment.number === rules.number + 1 && amendment.previous === rules.last;
}

export function amended(rules: Rules, amendment: Amendment): Rules {
  const { membership } = amendment;
  const kept = rules.members.filter((key) => membership === null || !membership.remove.includes(key));
  return {
    open: membership === null ? rules.open : membership.open,
    members: [...new Set([...kept, ...(membership?.add ?? [])])].sort(),
    budgets: amendment.budgets ?? rules.budgets,
    admission: amendment.admission ?? rules.admission,
    sealers: amendment.sealers ?? rules.sealers,
    number: amendment.number,
    last: amendment.id,
  };
}
