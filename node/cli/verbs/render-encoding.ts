/** How a compressed fine-tune is described to people; `encode` and `contribute` say the same of it. */
import type { Choice } from '../../../src/choose/index.ts';
import type { EncoderSettings, TensorDifference } from '../../../src/codec/index.ts';
import { formatBytes, table } from '../output.ts';

export interface EncodingSummary {
  readonly settings: EncoderSettings;
  /** How the settings were chosen; null where they were given. */
  readonly choice: Choice | null;
  /** Entries of the update as a share of what they were chosen from. */
  readonly density: number;
  /** Tensors that travel as two factors. */
  readonly lowRank: number;
  /** Differences between base and fine-tune that were let pass. */
  readonly notes: readonly TensorDifference[];
}

/** Lines about what was kept, how it was chosen, and what was let pass. */
export function renderEncoding({ settings, choice, density, lowRank, notes }: EncodingSummary): string[] {
  const { mode, scaleUnit, scaleFactor } = settings;
  return [
    `kept ${(100 * density).toFixed(2)} %, per ${mode === 'global' ? 'model' : 'tensor'}, scale ${scaleFactor.toPrecision(3)} x ${scaleUnit}`,
    ...(lowRank === 0 ? [] : [`${lowRank} ${lowRank === 1 ? 'tensor travels' : 'tensors travel'} as low-rank factors`]),
    ...notes.map(renderNote),
    ...(choice === null ? [] : ['', renderChoice(choice), '']),
  ];
}

/** A difference that was let pass, and what came of it. */
function renderNote({ tensor, problem, tiedTo }: TensorDifference): string {
  if (tiedTo !== undefined) return `${tensor}: ${problem}, and tied to ${tiedTo}`;
  return `${tensor}: ${problem}, ${problem === 'extra' ? 'left out' : 'so unchanged'}`;
}

/** What was tried, and by which rule one of it was taken. */
export function renderChoice(choice: Choice): string {
  const percent = (share: number) => `${(100 * share).toFixed(0)} %`;
  const mark = (good: boolean) => (good ? 'good' : '');
  const rows =
    choice.by === 'evaluation'
      ? [
          ['density', 'factor', 'bytes', 'accuracy', ''],
          ...choice.table.map((row) => [
            percent(row.density),
            row.scaleFactor.toFixed(2),
            formatBytes(row.bytes),
            `${row.accuracy.toFixed(2)} %`,
            mark(row.good),
          ]),
        ]
      : [
          ['density', 'factor', 'energy kept', ''],
          ...choice.table.map((row) => [
            percent(row.density),
            row.scaleFactor.toFixed(2),
            percent(row.energy),
            mark(row.good),
          ]),
        ];
  return `${table(rows, [true, true, true, choice.by === 'evaluation'])}\n${choice.rule}`;
}
