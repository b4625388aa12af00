/** From the paths of a base and a fine-tune, and what somebody chose, to a payload file. */

import type { TensorTable } from '../codec/index.ts';
import {
  type AlignPolicy,
  comparedTensors,
  type EncodeReport,
  type EncoderSettings,
  encodeTaskVector,
  openEncodeThreads,
  tableOf,
} from '../codec/index.ts';
import type { EvaluatorInput } from '../evaluate/index.ts';
import type { RunOptions } from '../run-options.ts';
import { openCheckpoint, openFinetune } from '../tensors/index.ts';
import { chooseSettings } from './choose.ts';
import { ChooseError } from './errors.ts';
import { type EncoderChoice, settingsOf } from './settings.ts';
import type { Choice } from './types.ts';

export interface FinetuneInput {
  /** Paths, or names in the Hugging Face cache; the fine-tune may be a LoRA adapter's directory. */
  readonly base: string;
  readonly finetune: string;
  /** A community's; default: that of the base. */
  readonly table?: TensorTable | undefined;
  /** `auto` chooses density and factor (`chooseSettings`); only the evaluation may then be given besides. */
  readonly choice: Omit<EncoderChoice, 'density'> & { readonly density?: number | 'auto' | undefined };
  readonly defaults: EncoderSettings;
  /** What `auto` chooses by; without it, by reconstruction. */
  readonly evaluation?: EvaluationPaths | undefined;
  /** What `auto` chooses from. Default `CHOICE_DENSITIES`. */
  readonly densities?: readonly number[] | undefined;
  readonly align?: AlignPolicy | undefined;
  readonly container?: boolean | undefined;
  readonly threads?: number | undefined;
}

/** As `EvaluatorInput`, with the path of the heads. */
export type EvaluationPaths = Omit<EvaluatorInput, 'heads'> & { readonly heads?: string | undefined };

export interface EncodedFinetune extends EncodeReport {
  readonly settings: EncoderSettings;
  /** How the settings were chosen; null where they were given. */
  readonly choice: Choice | null;
}

/**
 * @throws ChooseError BAD_CHOICE; as `chooseSettings`, `encodeTaskVector`, `openCheckpoint` and `openFinetune`
 */
export async function encodeFinetune(
  input: FinetuneInput,
  out: string,
  options: RunOptions = {},
): Promise<EncodedFinetune> {
  checkChoice(input);
  const { align = {} } = input;
  const base = await openCheckpoint(input.base, options);
  try {
    const opened = await openFinetune(input.finetune, base, { ...options, policy: align });
    try {
      const finetune = opened.kind === 'adapter' ? opened.adapter : opened.checkpoint;
      const table = input.table ?? tableOf(base);
      // The choice and the encoding share them.
      const threads = openEncodeThreads(comparedTensors({ finetune, table }), input.threads);
      try {
        const source = { base, finetune, table, align, threads };
        const choice =
          input.choice.density === 'auto'
            ? await choose({ ...source, densities: input.densities }, input.evaluation, options)
            : null;
        const { density, ...rest } = input.choice;
        const settings =
          choice?.settings ?? settingsOf(density === 'auto' ? rest : { ...rest, density }, input.defaults);
        const container = input.container === true;
        const report = await encodeTaskVector({ ...source, ...settings, container }, out, options);
        return { ...report, settings, choice };
      } finally {
        await threads.close();
      }
    } finally {
      await opened.close();
    }
  } finally {
    await base.close();
  }
}

async function choose(
  source: Omit<Parameters<typeof chooseSettings>[0], 'evaluation'>,
  evaluation: EvaluationPaths | undefined,
  options: RunOptions,
): Promise<Choice> {
  if (evaluation === undefined) return chooseSettings(source, options);
  const { heads: path, ...rest } = evaluation;
  if (path === undefined) return chooseSettings({ ...source, evaluation: rest }, options);
  const heads = await openCheckpoint(path, options);
  try {
    return await chooseSettings({ ...source, evaluation: { ...rest, heads } }, options);
  } finally {
    await heads.close();
  }
}

function checkChoice({ choice: { density, mode, scaleUnit, scaleFactor }, evaluation }: FinetuneInput): void {
  const given = [mode, scaleUnit, scaleFactor].some((value) => value !== undefined);
  if (density === 'auto' && given) {
    const text = 'Density auto chooses mode, unit and factor too: leave them out, or give the density.';
    throw new ChooseError('BAD_CHOICE', text, { mode, scaleUnit, scaleFactor });
  }
  if (density !== 'auto' && evaluation !== undefined) {
    throw new ChooseError(
      'BAD_CHOICE',
      'An evaluation set is used by density auto only: say `--density auto`, or leave the set out.',
    );
  }
}
