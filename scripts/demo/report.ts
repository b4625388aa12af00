import { formatBytes, table } from '../../node/cli/output.ts';
import type { Accuracy } from './evaluate.ts';

/** What the demo prints with --json. Accuracies are in percent, sizes in bytes. */
export interface DemoReport {
  /** One per node. */
  readonly recipes: readonly string[];
  readonly accuracy: Readonly<Record<string, Accuracy>>;
  readonly average: Accuracy;
  /** Records and payloads as published, the entropy bound of the payloads, and the task vectors as fp16. */
  readonly bytes: { readonly published: number; readonly bound: number; readonly fp16: number };
  readonly verified: { readonly checked: number; readonly total: number };
  readonly seconds: number;
}

export function renderReport(report: DemoReport): string {
  const row = (name: string, { base, expert, merged }: Accuracy) => [
    name,
    ...[base, expert, merged].map((value) => value.toFixed(1)),
  ];
  const { published, bound, fp16 } = report.bytes;
  return [
    table(
      [
        ['accuracy, %', 'base', 'own expert', 'merged'],
        ...Object.entries(report.accuracy).map(([task, accuracy]) => row(task, accuracy)),
        row('average', report.average),
      ],
      [false, true, true, true],
    ),
    '',
    `published   ${formatBytes(published)} for eight fine-tunes: ${(fp16 / published).toFixed(1)}x smaller than fp16 ` +
      `(${formatBytes(fp16)}), ${(published / bound).toFixed(3)} of the entropy bound`,
    ...report.recipes.map((recipe, node) => `recipe      ${recipe}  (node ${node + 1})`),
    `verified    ${report.verified.checked} of ${report.verified.total} tensors`,
    `time        ${report.seconds.toFixed(0)} s`,
  ].join('\n');
}

/** What several runs came to, each with its own order of updates. */
export function renderRuns(reports: readonly DemoReport[]): string {
  const merged = reports.map((report) => report.average.merged);
  const mean = merged.reduce((total, value) => total + value, 0) / merged.length;
  const agreed = reports.filter((report) => new Set(report.recipes).size === 1).length;
  return (
    `${reports.length} runs: one recipe at all nodes in ${agreed}; merged average ${mean.toFixed(2)} % ` +
    `(${Math.min(...merged).toFixed(2)} to ${Math.max(...merged).toFixed(2)})`
  );
}
