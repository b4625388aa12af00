import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { base, expert, graph, heads, TASKS, type Task, testSet } from '../../demo/vision8.ts';
import type { BarDefinition } from '../bars.ts';
import type { BenchmarkContext, Cell } from '../benchmark.ts';
import { runCli } from '../cli.ts';
import type { Findings, Group } from '../groups.ts';

/** Mean accuracy that the default settings must keep, by density in percent. The experts themselves have 77.3. */
const TARGETS = [
  { percent: 10, target: 75.5 },
  { percent: 20, target: 77.3 },
] as const;

const bars = TARGETS.map(
  ({ percent, target }): BarDefinition => ({
    id: `codec.vision8.expert.${percent}`,
    what: `base + update of each expert of vision8 on its own test set, ${percent} % kept, otherwise default settings`,
    unit: '%',
    target,
    sense: 'at least',
    numeratorIs: "sum of the experts' accuracies in percent",
    denominatorIs: 'experts',
  }),
);

/** What the default settings do to single experts: `kinmerge encode`, `decode --apply`, `evaluate`. */
export const expertsGroup: Group = { bars, run };

async function run(context: BenchmarkContext, { outcomes, tables }: Findings): Promise<void> {
  const { quick, say } = context;
  const tasks = quick ? (['omniglot'] as const) : TASKS;
  const rows: Record<string, Cell>[] = [];
  for (const { percent } of TARGETS) {
    say(`accuracy of single experts of vision8 at ${percent} %`);
    const row: Record<string, Cell> = { density: `${percent} %` };
    let sum = 0;
    for (const task of tasks) {
      const accuracy = await accuracyOf(context, task, percent / 100);
      row[task] = accuracy;
      sum += accuracy;
    }
    rows.push({ ...row, mean: sum / tasks.length });
    outcomes.set(`codec.vision8.expert.${percent}`, { numerator: sum, denominator: tasks.length });
  }
  tables.push({ title: 'accuracy of base + update on the test sets of vision8, percent', rows });
}

async function accuracyOf({ workspace, signal }: BenchmarkContext, task: Task, density: number): Promise<number> {
  const update = join(workspace.scratch, 'expert.update');
  const applied = join(workspace.scratch, 'expert-applied');
  try {
    const encode = ['encode', expert(task), '--base', base, '--out', update, '--density', String(density)];
    await runCli(encode, { signal });
    await runCli(['decode', update, '--base', base, '--apply', '--out', applied], { signal });
    const test = ['--test', `${task}=${testSet(task)}`];
    const evaluate = ['evaluate', applied, '--graph', graph, '--heads', heads, ...test];
    return (await runCli<{ average: number }>(evaluate, { signal })).average;
  } finally {
    await rm(update, { force: true });
    await rm(applied, { recursive: true, force: true });
  }
}
