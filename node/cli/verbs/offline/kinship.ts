import type { Command } from 'commander';
import { KINSHIP_CAVEAT } from '../../../../src/kinship/index.ts';
import { NodeError } from '../../../errors.ts';
import type { CommonOptions, Register } from '../../context.ts';
import { EXIT } from '../../exit-codes.ts';
import { table } from '../../output.ts';
import { isUpdateFile } from './files.ts';
import { compareCheckpoints, compareUpdates, type KinshipDocument } from './kinship-compare.ts';

interface KinshipOptions extends CommonOptions {
  readonly base?: string;
}

export function kinshipVerb(program: Command, register: Register): void {
  const command = program
    .command('kinship')
    .argument('<a>', 'an update file; with --base also a fine-tuned checkpoint or a LoRA adapter')
    .argument('<b>', 'another one')
    .argument('[others...]', 'more of them')
    .description('compare task vectors: cosine, Pearson and Euclidean distance of each pair, and of each to the others')
    .option('--base <path>', 'the base of the checkpoints; the values are then compared uncompressed');
  register<KinshipOptions>(command, async (context, paths, options) => {
    const run = { signal: context.signal, onProgress: context.output.progress };
    const document = await compare(paths, options.base, run);
    context.output.result({ ...document, caveat: KINSHIP_CAVEAT }, () => render(document));
    return EXIT.done;
  });
}

async function compare(
  paths: readonly string[],
  base: string | undefined,
  run: Parameters<typeof compareUpdates>[1],
): Promise<KinshipDocument> {
  if (base !== undefined) return compareCheckpoints(paths, base, run);
  for (const path of paths) {
    if (await isUpdateFile(path)) continue;
    throw new NodeError('USAGE', `${path} is not an update file: to compare checkpoints, name their base with --base`, {
      path,
    });
  }
  return compareUpdates(paths, run);
}

function render({ models, pairs, kinship }: KinshipDocument): string {
  const number = (value: number | null) => (value === null ? '-' : value.toFixed(6));
  const right = [false, false, true, true, true];
  return [
    table(
      [
        ['a', 'b', 'cosine', 'pearson', 'euclidean'],
        ...pairs.map(({ a, b, cosine, pearson, euclidean }) => [
          models[a]!.path,
          models[b]!.path,
          number(cosine),
          number(pearson),
          number(euclidean),
        ]),
      ],
      right,
    ),
    '',
    table(
      [
        ['to all others', 'norm', 'cosine', 'pearson', 'euclidean'],
        ...kinship.map(({ cosine, pearson, euclidean }, i) => [
          models[i]!.path,
          number(models[i]!.norm),
          number(cosine),
          number(pearson),
          number(euclidean),
        ]),
      ],
      [false, true, true, true, true],
    ),
  ].join('\n');
}
