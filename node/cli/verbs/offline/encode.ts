import type { Command } from 'commander';
import { type Choice, defaultSettings, type EncodedFinetune, encodeFinetune } from '../../../../src/choose/index.ts';
import type { CommonOptions, Register } from '../../context.ts';
import { EXIT } from '../../exit-codes.ts';
import { formatBytes, table } from '../../output.ts';
import { type EncoderOptions, encoderRequest, withEncoderOptions } from '../encoder-options.ts';
import { checkOut } from './out.ts';

interface EncodeOptions extends CommonOptions, EncoderOptions {
  readonly base: string;
  readonly out: string;
  readonly force?: boolean;
}

export function encodeVerb(program: Command, register: Register): void {
  const command = program
    .command('encode')
    .argument('<finetune>', 'the fine-tune: safetensors file, Hugging Face directory or LoRA adapter directory')
    .description('compress what a fine-tune changed into one update file')
    .requiredOption('--base <path>', 'the checkpoint that the fine-tune started from')
    .requiredOption('--out <file>', 'the update file to write')
    .option('--force', 'replace an existing file');
  const { density, mode, scaleUnit } = defaultSettings();
  withEncoderOptions(command, `${density}, ${mode}, ${scaleUnit}`);
  register<EncodeOptions>(command, async (context, [finetune = ''], options) => {
    const run = { signal: context.signal, onProgress: context.output.progress };
    const request = await encoderRequest(options);
    const { base } = options;
    const force = options.force === true;
    const out = await checkOut(options.out, { kind: 'file', force, inputs: [finetune, base] });
    const input = { ...request, base, finetune, defaults: defaultSettings(), container: true };
    const report = await encodeFinetune(input, out, run);
    context.output.result({ out, ...report }, () => renderReport(out, report));
    return EXIT.done;
  });
}

function renderReport(out: string, report: EncodedFinetune): string {
  const { bytes, entropyBoundBytes, nnz, codedElements, density, settings, choice, notes } = report;
  const { mode, scaleUnit, scaleFactor } = settings;
  const lowRank = report.tensors.filter(({ rank }) => rank !== undefined).length;
  return [
    out,
    `${formatBytes(bytes)}, ${(report.fp16Bytes / bytes).toFixed(1)}x smaller than fp16 (entropy bound ${formatBytes(entropyBoundBytes)})`,
    `${nnz} of ${codedElements} weights kept (${(100 * density).toFixed(2)} %), per ${mode === 'global' ? 'model' : 'tensor'}, scale ${scaleFactor.toPrecision(3)} x ${scaleUnit}`,
    ...(lowRank === 0 ? [] : [`${lowRank} tensors travel as low-rank factors`]),
    ...notes.map(
      ({ tensor, problem, tiedTo }) => `${tensor}: ${problem}${tiedTo === undefined ? '' : ` (tied to ${tiedTo})`}`,
    ),
    ...(choice === null ? [] : ['', renderChoice(choice)]),
  ].join('\n');
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
