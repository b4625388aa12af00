import { formatBytes, table } from '../../node/cli/output.ts';
import type { Accuracy } from './evaluate.ts';

/** What the demo prints with --json. Accuracies are in percent, sizes in bytes. */
export interface DemoReport {
  /** One per node. */
  readonly recipes: readonly string[];
  readonly accuracy: Readonly<Record<string, Accuracy>>;
  readonly average: Accuracy;
  readonly bytes: {
    /** Records and payloads. */
    readonly published: number;
    readonly payloads: number;
    /** The payloads of the same fine-tunes in the paper's form. */
    readonly paper: number;
    /** Entropy bound of the payloads. */
    readonly bound: number;
    /** The task vectors as fp16. */
    readonly fp16: number;
  };
  readonly verified: { readonly checked: number; readonly total: number };
  readonly seconds: number;
}

const COLUMNS: readonly (readonly [keyof Accuracy, string])[] = [
  ['base', 'base'],
  ['expert', 'own expert'],
  ['update', 'own update'],
  ['merged', 'merged'],
  ['paperUpdate', "paper's update"],
  ['paperMerged', "paper's merged"],
];

export function renderReport(report: DemoReport): string {
  const row = (name: string, accuracy: Accuracy) => [name, ...COLUMNS.map(([key]) => accuracy[key].toFixed(1))];
  const { published, payloads, paper, bound, fp16 } = report.bytes;
  const { update, merged, paperUpdate, paperMerged } = report.average;
  return [
    table(
      [
        ['accuracy, %', ...COLUMNS.map(([, title]) => title)],
        ...Object.entries(report.accuracy).map(([task, accuracy]) => row(task, accuracy)),
        row('average', report.average),
      ],
      [false, ...COLUMNS.map(() => true)],
    ),
    '',
    `published   ${formatBytes(published)} for eight fine-tunes: ${(fp16 / published).toFixed(1)}x smaller than fp16 ` +
      `(${formatBytes(fp16)}), ${(published / bound).toFixed(3)} of the entropy bound`,
    `form        a selection and a scale for each tensor, beside the paper's one for the whole update: ` +
      `${signed(update - paperUpdate)} points for one update, ${signed(merged - paperMerged)} merged; ` +
      `payloads ${formatBytes(payloads)} beside ${formatBytes(paper)}`,
    ...report.recipes.map((recipe, node) => `recipe      ${recipe}  (node ${node + 1})`),
    `verified    ${report.verified.checked} of ${report.verified.total} tensors`,
    `time        ${report.seconds.toFixed(0)} s`,
  ].join('\n');
}

/** What several runs came to, each with its own order of updates. */
export function renderRuns(reports: readonly DemoReport[]): string {
  const spread = (values: readonly number[]) => {
    const mean = values.reduce((total, value) => total + value, 0) / values.length;
    return `${mean.toFixed(2)} % (${Math.min(...values).toFixed(2)} to ${Math.max(...values).toFixed(2)})`;
  };
  const merged = spread(reports.map(({ average }) => average.merged));
  const paper = spread(reports.map(({ average }) => average.paperMerged));
  const agreed = reports.filter((report) => new Set(report.recipes).size === 1).length;
  return (
    `${reports.length} runs: one recipe at all nodes in ${agreed}; merged average ${merged}; ` +
    `of the same updates in the paper's form ${paper}`
  );
}

function signed(value: number): string {
  return `${value < 0 ? '' : '+'}${value.toFixed(1)}`;
}
