import type { CID } from 'multiformats/cid';
import type { Log, Rules, SignedAmendment, SignedRecord } from '../log/index.ts';
import { amendRules, canonicalOrder, continuesRules, idKey, idText, isMemberBy } from '../log/index.ts';
import type { AdoptedDecision, Step, StepResult } from './steps.ts';

/** An epoch, or the tail: records that follow one another, under one set of rules. */
export interface Section {
  /** In canonical order. */
  readonly records: readonly SignedRecord[];
  /** In effect for all of them. */
  readonly rules: Rules;
  /** What happens in it, in order; the rules' admission limits come first. */
  readonly steps: readonly Step[];
  /** Place among the steps of each update and of each revocation that acts at once, by record id. */
  readonly places: ReadonlyMap<string, number>;
  /** Revocations whose target is in an earlier section: they act at the end, when a seal ends it. In canonical order. */
  readonly late: readonly { readonly revocation: CID; readonly target: string }[];
}

export interface SectionInput {
  readonly records: Iterable<SignedRecord>;
  /** Bytes of the previous seal's id, or of the charter's. */
  readonly salt: Uint8Array;
  readonly rules: Rules;
  /** Whether the author's equivocation, as far as it is known up to this section, declines the record. */
  isEquivocated(signed: SignedRecord): boolean;
  /** A sealer's decision on the update at this place, where it is taken as it is. */
  adopted?(place: number, payload: CID): AdoptedDecision | undefined;
}

/** Orders the records of a section and says what happens in it. */
export function makeSection(input: SectionInput, { log }: { log: Pick<Log, 'totals'> }): Section {
  const { salt, rules } = input;
  const byKey = new Map<string, SignedRecord>();
  for (const signed of input.records) byKey.set(idKey(signed.id), signed);
  const records = canonicalOrder(byKey.values(), salt).map((id) => byKey.get(idKey(id))!);
  const steps: Step[] = [{ kind: 'policy', policy: rules.admission }];
  const places = new Map<string, number>();
  const late: { revocation: CID; target: string }[] = [];
  for (const [place, signed] of records.entries()) {
    const { id, record } = signed;
    if (record.kind === 'update') {
      const { updates, bytes } = log.totals(id)!;
      const update = {
        id: idText(id),
        cid: id,
        payload: record.payload,
        equivocation: input.isEquivocated(signed),
        member: isMemberBy(rules, record.author),
        budget: { updates, bytes, most: rules.budgets },
      };
      places.set(update.id, steps.length);
      const decision = input.adopted?.(place, record.payload);
      steps.push(decision === undefined ? { kind: 'update', update } : { kind: 'update', update, adopted: decision });
    } else if (record.kind === 'revocation') {
      const target = record.target.toString();
      if (byKey.has(idKey(record.target))) {
        places.set(id.toString(), steps.length);
        steps.push({ kind: 'take-out', update: target });
      } else late.push({ revocation: id, target });
    }
  }
  return { records, rules, steps, places, late };
}

/** The steps of a section that a seal ends: what its late revocations do comes last. */
export function sealedSteps({ steps, late }: Section): Step[] {
  return [...steps, ...late.map(({ target }): Step => ({ kind: 'take-out', update: target }))];
}

/** Amendments of a section that come into effect when a seal ends it, and the rules after it. */
export function amendments({ records, rules }: Section): { effective: SignedAmendment[]; after: Rules } {
  const effective: SignedAmendment[] = [];
  let after = rules;
  for (const signed of records) {
    if (signed.record.kind !== 'amendment') continue;
    const amendment = signed as SignedAmendment;
    if (!continuesRules(after, amendment)) continue;
    after = amendRules(after, amendment);
    effective.push(amendment);
  }
  return { effective, after };
}

/** Revocations of a section that a seal ends that took something out, by the results of its sealed steps. */
export function revocations({ records, places, late, steps }: Section, results: readonly StepResult[]): CID[] {
  const acted = new Set<string>();
  for (const [place, { revocation }] of late.entries()) {
    if (results[steps.length + place] === true) acted.add(revocation.toString());
  }
  return records
    .filter(({ id, record }) => {
      if (record.kind !== 'revocation') return false;
      const place = places.get(id.toString());
      return place === undefined ? acted.has(id.toString()) : results[place] === true;
    })
    .map(({ id }) => id);
}
