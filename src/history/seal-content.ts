import type { Decision } from '../kinship/index.ts';
import { compareBytes } from '../log/canonical.ts';
import { NOT_AN_UPDATE, type Seal } from '../log/index.ts';
import { revocations, type Section } from './section.ts';
import { decisionByte, type StepResult } from './steps.ts';

/** The fields of a seal that list what happened in its epoch, by the results of its sealed steps. */
export function describeEpoch(
  section: Section,
  results: readonly StepResult[],
): Pick<Seal, 'decisions' | 'revocations'> {
  const decisions = Uint8Array.from(section.records, ({ id, record }) => {
    if (record.kind !== 'update') return NOT_AN_UPDATE;
    return decisionByte(results[section.places.get(id.toString())!] as Decision);
  });
  return { decisions, revocations: revocations(section, results) };
}

/** Names of the fields in which two seals of the same epoch differ. */
export function differences(seal: Seal, computed: Seal): string[] {
  const ids = (list: Seal['amendments']) => list.map(String).join();
  const differs: Record<string, boolean> = {
    decisions: compareBytes(seal.decisions, computed.decisions) !== 0,
    amendments: ids(seal.amendments) !== ids(computed.amendments),
    revocations: ids(seal.revocations) !== ids(computed.revocations),
    accepted: seal.accepted !== computed.accepted,
    recipe: !seal.recipe.equals(computed.recipe),
  };
  return Object.keys(differs).filter((field) => differs[field]);
}
