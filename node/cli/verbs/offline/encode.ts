import type { Command } from 'commander';
import { defaultSettings, type EncodedFinetune, encodeFinetune } from '../../../../src/choose/index.ts';
import type { CommonOptions, Register } from '../../context.ts';
import { EXIT } from '../../exit-codes.ts';
import { formatBytes } from '../../output.ts';
import { type EncoderOptions, encoderRequest, withEncoderOptions } from '../encoder-options.ts';
import { renderEncoding } from '../render-encoding.ts';
import { checkOut } from './out.ts';

interface EncodeOptions extends CommonOptions, EncoderOptions {
  readonly base: string;
  readonly out: string;
  readonly force?: boolean;
}

/** What `encode` prints. */
interface EncodeDocument extends EncodedFinetune {
  readonly out: string;
  /** Tensors that travel as two factors. */
  readonly lowRank: number;
}

export function encodeVerb(program: Command, register: Register): void {
  const command = program
    .command('encode')
    .argument('<finetune>', 'the fine-tune: safetensors file, Hugging Face directory or LoRA adapter directory')
    .description('compress what a fine-tune changed into one update file')
    .requiredOption('--base <path>', 'the checkpoint that the fine-tune started from')
    .requiredOption('--out <file>', 'the update file to write')
    .option('--force', 'replace an existing file');
  withEncoderOptions(command, defaultSettings());
  register<EncodeOptions>(command, async (context, [finetune = ''], options) => {
    const run = { signal: context.signal, onProgress: context.output.progress };
    const request = await encoderRequest(options);
    const { base } = options;
    const force = options.force === true;
    const out = await checkOut(options.out, { kind: 'file', force, inputs: [finetune, base] });
    const input = { ...request, base, finetune, defaults: defaultSettings(), container: true };
    const report = await encodeFinetune(input, out, run);
    const lowRank = report.tensors.filter(({ rank }) => rank !== undefined).length;
    const document: EncodeDocument = { out, lowRank, ...report };
    context.output.result(document, () => render(document));
    return EXIT.done;
  });
}

function render(document: EncodeDocument): string {
  const { out, bytes, entropyBoundBytes, fp16Bytes, nnz, codedElements } = document;
  return [
    out,
    `${formatBytes(bytes)}, ${(fp16Bytes / bytes).toFixed(1)}x smaller than fp16 (entropy bound ${formatBytes(entropyBoundBytes)})`,
    `${nnz} of ${codedElements} weights`,
    ...renderEncoding(document),
  ]
    .join('\n')
    .trimEnd();
}
