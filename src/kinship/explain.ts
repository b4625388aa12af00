import type { Decision } from './admission.ts';
import type { GateName, GateResult } from './gates.ts';

/** What every explanation of a decision has to say with it. */
export const KINSHIP_CAVEAT =
  'Kinship compares weights. It does not see behaviour and is no backdoor detector: evaluate the merged model before you trust it.';

const WORDS: Record<string, { what: string; limit: string }> = {
  equivocation: { what: "author's records", limit: '' },
  membership: { what: 'author', limit: '' },
  updates: { what: "author's updates", limit: 'at most ' },
  'update bytes': { what: "author's payload bytes", limit: 'at most ' },
  payload: { what: 'payload', limit: '' },
  bytes: { what: 'payload bytes', limit: 'at most ' },
  'not zero': { what: 'norm', limit: '' },
  density: { what: 'coded share', limit: 'at most ' },
  scale: { what: 'largest entry', limit: 'at most ' },
  'absolute norm': { what: 'norm', limit: 'at most ' },
  norm: { what: 'norm to the median of the accepted', limit: '' },
  duplicate: { what: 'highest cosine to an accepted update', limit: 'at most ' },
  opposite: { what: 'lowest cosine to an accepted update', limit: 'at least ' },
  kinship: { what: 'mean cosine to the accepted updates', limit: '' },
};

const REASONS: Record<GateName, string> = {
  equivocation: 'its author signed two records with one sequence number',
  membership: 'its author is not a member by the rules in effect',
  budget: 'its author has used up the budget in effect',
  bounds: 'it is outside the absolute limits',
  norm: 'its norm is too far from that of the accepted updates',
  duplicate: 'it adds nothing to an accepted update',
  opposite: 'it works against an accepted update',
  kinship: 'it is not related as updates of this community are',
};

/** The gates of a decision as a table of plain text. */
export interface DecisionTable {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** One row per check: gate, what was measured, the value, the limit, the verdict, a note. */
export function explainTable(decision: Decision): DecisionTable {
  return {
    columns: ['gate', 'measured', 'value', 'limit', 'verdict', 'note'],
    rows: decision.gates.map((result) => [
      result.gate,
      WORDS[result.check]?.what ?? result.check,
      valueText(result) ?? '-',
      limitText(result),
      result.verdict,
      noteText(result),
    ]),
  };
}

/** The decision in words, then the aligned table, then what kinship cannot tell. Lines have no trailing space. */
export function explain(decision: Decision): string[] {
  const { columns, rows } = explainTable(decision);
  const widths = columns.map((column, k) => Math.max(column.length, ...rows.map((row) => row[k]!.length)));
  const table = [columns, ...rows].map((row) =>
    row
      .map((cell, k) => cell.padEnd(widths[k]!))
      .join('  ')
      .trimEnd(),
  );
  return [verdictLine(decision), '', ...table, '', KINSHIP_CAVEAT];
}

/** One sentence: accepted, or the gate that declined the update and why. */
export function verdictLine(decision: Decision): string {
  const failed = decision.gates.find((result) => result.verdict === 'fail');
  if (failed === undefined) return `Update ${decision.id} is accepted: every gate let it pass.`;
  const value = valueText(failed) ?? 'undefined';
  const facts = [`${WORDS[failed.check]?.what ?? failed.check} ${value}`, `limit ${limitText(failed)}`];
  const note = noteText(failed);
  if (note !== '') facts.push(note);
  return `Update ${decision.id} is declined by ${failed.gate}: ${REASONS[failed.gate]} (${facts.join('; ')}).`;
}

function limitText({ check, threshold }: GateResult): string {
  if (typeof threshold === 'object') return `${format(threshold[0])} to ${format(threshold[1])}`;
  return (WORDS[check]?.limit ?? '') + format(threshold);
}

function noteText({ other, note }: GateResult): string {
  return [other === undefined ? '' : `to ${other}`, note ?? ''].filter((part) => part !== '').join(', ');
}

/** Rounded for the eye, but in full where rounding would hide that the value is beyond its limit. */
function valueText({ measured, threshold }: GateResult): string | null {
  if (measured === null) return null;
  const short = format(measured);
  const hidden = [threshold].flat().some((limit) => limit !== measured && format(limit) === short);
  return hidden ? String(measured) : short;
}

function format(value: number | string): string {
  if (typeof value === 'string') return value;
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));
}
