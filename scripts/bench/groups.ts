import { type BarDefinition, type BarOutcome, isAsked, NOT_ASKED } from './bars.ts';
import type { BenchmarkContext, BenchmarkResult, Table } from './benchmark.ts';

/** Collects what a group finds out. */
export interface Findings {
  readonly outcomes: Map<string, BarOutcome>;
  readonly tables: Table[];
  readonly notes: string[];
  readonly details: Record<string, object[]>;
}

/** Bars that are measured together. A group without bars runs when no bars are named. */
export interface Group {
  readonly bars: readonly BarDefinition[];
  run(context: BenchmarkContext, findings: Findings): Promise<void>;
}

/** Runs the groups that have a bar somebody asked for. What stops one becomes the reason of its bars. */
export async function runGroups(groups: readonly Group[], context: BenchmarkContext): Promise<BenchmarkResult> {
  const findings: Findings = { outcomes: new Map(), tables: [], notes: [...context.workspace.notes], details: {} };
  for (const { bars, run } of groups) {
    const asked = bars.filter(({ id }) => isAsked(id, context.only));
    if (asked.length > 0 || (bars.length === 0 && context.only === undefined)) {
      try {
        await run(context, findings);
      } catch (error) {
        context.signal.throwIfAborted();
        const reason = error instanceof Error ? error.message : String(error);
        context.say(`stopped: ${reason}`);
        // A group without bars has no other place for it.
        if (bars.length === 0) findings.notes.push(`stopped: ${reason}`);
        if (bars.length === 0) findings.notes.push(`a part was not measured: ${reason}`);
        for (const { id } of asked) if (!findings.outcomes.has(id)) findings.outcomes.set(id, { reason });
      }
    }
    for (const { id } of bars)
      if (!asked.some((bar) => bar.id === id)) findings.outcomes.set(id, { reason: NOT_ASKED });
  }
  return findings;
}
