import { keyToText, type LogRecord, type RuleChanges } from '../../src/log/index.ts';

/** The rules that an amendment changes, with keys as text; sections that it leaves alone are left out. */
export interface ChangesDocument {
  readonly membership?: { readonly open: boolean; readonly add: readonly string[]; readonly remove: readonly string[] };
  readonly budgets?: NonNullable<RuleChanges['budgets']>;
  readonly admission?: NonNullable<RuleChanges['admission']>;
  readonly sealers?: { readonly keys: readonly string[]; readonly threshold: number };
}

export function describeChanges({ membership, budgets, admission, sealers }: RuleChanges): ChangesDocument {
  return {
    ...(membership && {
      membership: {
        open: membership.open,
        add: membership.add.map(keyToText),
        remove: membership.remove.map(keyToText),
      },
    }),
    ...(budgets && { budgets }),
    ...(admission && { admission }),
    ...(sealers && { sealers: { keys: sealers.keys.map(keyToText), threshold: sealers.threshold } }),
  };
}

/** What a record of its kind says, as text; null where its kind says nothing of the sort. */
export function describeContent(record: LogRecord) {
  return {
    payload: record.kind === 'update' ? record.payload.toString() : null,
    target: record.kind === 'revocation' ? record.target.toString() : null,
    amendment: record.kind === 'amendment' ? { number: record.number, changes: describeChanges(record) } : null,
    title: record.kind === 'update' ? record.title : '',
    license: record.kind === 'update' ? record.license : '',
    note: record.note,
  };
}
