import { type Command, Option } from 'commander';
import { type EncodeReport, encodeTaskVector, type ScaleMode, tableOf } from '../../../../src/codec/index.ts';
import { openCheckpoint } from '../../../../src/tensors/index.ts';
import type { CommonOptions, Register } from '../../context.ts';
import { EXIT } from '../../exit-codes.ts';
import { formatBytes } from '../../output.ts';
import { parseNumber } from '../../parse.ts';
import { closingAfter } from './files.ts';
import { checkOut } from './out.ts';

/** The same as those of `contribute`. */
export const DEFAULT_DENSITY = 0.2;
export const DEFAULT_SCALE_FACTOR = 4;

interface EncodeOptions extends CommonOptions {
  readonly base: string;
  readonly out: string;
  readonly density: number;
  readonly scaleFactor: number;
  readonly mode: ScaleMode;
  readonly force?: boolean;
}

export function encodeVerb(program: Command, register: Register): void {
  const command = program
    .command('encode')
    .argument('<finetune>', 'safetensors file or Hugging Face directory of the fine-tune')
    .description('compress what a fine-tune changed into one update file')
    .requiredOption('--base <path>', 'the checkpoint that the fine-tune started from')
    .requiredOption('--out <file>', 'the update file to write')
    .option('--density <share>', 'share of weights that are kept, 0 to 1', parseNumber, DEFAULT_DENSITY)
    .option(
      '--scale-factor <factor>',
      'scale in standard deviations of the task vector',
      parseNumber,
      DEFAULT_SCALE_FACTOR,
    )
    .addOption(
      new Option('--mode <mode>', 'one selection and scale for the whole model, or one for each tensor')
        .choices(['global', 'tensor'])
        .default('global'),
    )
    .option('--force', 'replace an existing file');
  register<EncodeOptions>(command, async (context, [finetunePath = ''], options) => {
    const run = { signal: context.signal, onProgress: context.output.progress };
    const { density, scaleFactor, mode } = options;
    const out = await checkOut(options.out, {
      kind: 'file',
      force: options.force === true,
      inputs: [finetunePath, options.base],
    });
    const report = await closingAfter(async (keep) => {
      const base = keep(await openCheckpoint(options.base, run));
      const finetune = keep(await openCheckpoint(finetunePath, run));
      const input = { base, finetune, table: tableOf(base), density, scaleFactor, mode, container: true };
      return encodeTaskVector(input, out, run);
    });
    context.output.result({ out, mode, ...report }, () => renderReport(out, report));
    return EXIT.done;
  });
}

function renderReport(out: string, report: EncodeReport): string {
  const { bytes, fp16Bytes, entropyBoundBytes, nnz, elements, density } = report;
  return [
    out,
    `${formatBytes(bytes)}, ${(fp16Bytes / bytes).toFixed(1)}x smaller than fp16 (entropy bound ${formatBytes(entropyBoundBytes)})`,
    `${nnz} of ${elements} weights kept (${(100 * density).toFixed(2)} %)`,
  ].join('\n');
}
