import { explain } from '../../../src/kinship/index.ts';
import type { UpdateDocument, WhyDocument } from '../../service/documents.ts';
import { formatBytes, table } from '../output.ts';
import { changeRows, summarizeChanges } from './render-rules.ts';

const PROVISIONAL = 'Provisional: no seal covers it, so an update that arrives late may still change it.';

export function renderLog(updates: readonly UpdateDocument[]): string {
  if (updates.length === 0) return 'no updates yet';
  return table([
    ['#', 'update', 'verdict', 'epoch', 'author', 'seq', 'title'],
    ...updates.map((update) => [
      update.position === null ? '-' : String(update.position),
      update.id,
      update.state === 'pending' ? 'pending' : verdictText(update),
      epochText(update),
      update.author,
      String(update.seq),
      titleOf(update),
    ]),
  ]);
}

export function renderUpdate(update: UpdateDocument): string {
  const head = [
    [update.kind, update.id],
    ['state', update.state === 'held' ? 'held' : `pending: ${update.waitsFor.join(', ')}`],
    ['epoch', epochText(update)],
    ['author', update.author],
    ['seq', String(update.seq)],
    ['parents', update.parents.join(' ') || '-'],
  ];
  return table([...head, ...contentRows(update), ['note', update.note || '-']]);
}

export function renderWhy(
  why: Pick<WhyDocument, 'update' | 'verdict' | 'gate' | 'gates' | 'provisional'> &
    Partial<Pick<WhyDocument, 'kind' | 'takenOut' | 'revocation' | 'epoch'>>,
): string {
  const { update, verdict, kind = 'update' } = why;
  if (kind !== 'update')
    return `${update} is no update but of kind ${kind}, and meets no gates: kinmerge show ${update}`;
  if (verdict === 'undecided') return `Update ${update} is pending: admission has not seen it yet.`;
  const lines = why.gates.length === 0 ? [adoptedLine(why)] : explained(why);
  if (why.takenOut) lines.push(`Taken out by revocation ${why.revocation}: it is no part of the model.`);
  else if (why.revocation) lines.push(`Revoked by ${why.revocation}; ${whenRevoked(why)}.`);
  if (why.provisional) lines.push(PROVISIONAL);
  else if (why.epoch != null) lines.push(`Sealed in epoch ${why.epoch}: final.`);
  return lines.join('\n');
}

function explained({ update, verdict, gates }: Pick<WhyDocument, 'update' | 'verdict' | 'gates'>): string[] {
  const gate = gates.find((result) => result.verdict === 'fail')?.gate ?? null;
  return explain({ id: update, accepted: verdict === 'accepted', gate, gates });
}

/** A decision that this node took from the sealers has no measurements: it was not replayed yet, or the payload is gone. */
function adoptedLine({ update, verdict, gate }: Pick<WhyDocument, 'update' | 'verdict' | 'gate'>): string {
  return `Update ${update} is ${verdict}${gate === null ? '' : ` by ${gate}`}: as its seal says; the gates were not run here.`;
}

/** Verdict, gate, and whether it is still in the model. */
function verdictText(update: UpdateDocument): string {
  if (update.kind !== 'update') return '-';
  const verdict = update.gate === null ? update.verdict : `${update.verdict} (${update.gate})`;
  if (update.takenOut) return `${verdict}, taken out`;
  return update.revocation === null ? verdict : `${verdict}, ${whenRevoked(update)}`;
}

/** Of a revocation that took nothing out so far. */
function whenRevoked({ verdict }: Pick<WhyDocument, 'verdict'>): string {
  return verdict === 'accepted' ? 'out at the next seal' : 'revoked';
}

function epochText({ state, epoch }: Pick<UpdateDocument, 'state' | 'epoch'>): string {
  if (state === 'pending') return '-';
  return epoch === null ? 'provisional' : `sealed #${epoch}`;
}

function titleOf({ kind, title, target, amendment }: UpdateDocument): string {
  if (kind === 'revocation') return `revokes ${target}`;
  return amendment === null ? title : `amendment ${amendment.number}: ${summarizeChanges(amendment.changes)}`;
}

function contentRows(update: UpdateDocument): string[][] {
  if (update.kind === 'revocation') return [['revokes', update.target ?? '-']];
  if (update.amendment !== null) {
    return [['amendment', String(update.amendment.number)], ...changeRows(update.amendment.changes)];
  }
  return [
    ['verdict', verdictText(update)],
    ...(update.revocation === null ? [] : [['revoked by', update.revocation]]),
    ['payload', `${update.payload}${update.payloadBytes === null ? '' : `  ${formatBytes(update.payloadBytes)}`}`],
    ['coded share of the base', update.density === null ? '-' : `${(100 * update.density).toFixed(2)} %`],
    ['norm', update.norm === null ? '-' : update.norm.toPrecision(6)],
    ['title', update.title || '-'],
    ['licence', update.license || '-'],
  ];
}
