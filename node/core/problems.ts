import type { SealAlarm } from '../../src/history/index.ts';

/** Why the node does not get on with something; it keeps trying. */
export interface Problem {
  readonly code: string;
  readonly message: string;
}

/** The parts of a node that can be in trouble, the one that is told first in front. */
const PARTS = ['disk', 'seal', 'admission', 'fold'] as const;

export type ProblemPart = (typeof PARTS)[number];

/** What each part of a node does not get on with, and which of it is told. */
export class Problems {
  readonly #onChange: (problem: Problem | null) => void;
  readonly #problems = new Map<ProblemPart, Problem>();

  /** @param components - `onChange` is told the first problem whenever a part has another one than before, or none any more */
  constructor(components: { onChange: (problem: Problem | null) => void }) {
    this.#onChange = components.onChange;
  }

  get first(): Problem | null {
    const part = PARTS.find((one) => this.#problems.has(one));
    return part === undefined ? null : this.#problems.get(part)!;
  }

  set(part: ProblemPart, problem: Problem | null): void {
    const before = this.#problems.get(part);
    if (before?.code === problem?.code && before?.message === problem?.message) return;
    if (problem === null) this.#problems.delete(part);
    else this.#problems.set(part, problem);
    this.#onChange(this.first);
  }
}

/** What a node says that stands still at a seal. */
export function sealProblem(alarm: SealAlarm): Problem {
  const { code, number } = alarm;
  const stand = `this node stands at seal ${number - 1}`;
  const message =
    alarm.code === 'SEAL_CONFLICT'
      ? `there are two seals with number ${number} (${alarm.seals.join(', ')}): a sealer signed twice, so ${stand}. Ask the owner`
      : `seal ${number} (${alarm.seal}) says other ${alarm.differs.join(', ')} than its records make, so ${stand}. Ask the owner`;
  return { code, message };
}
