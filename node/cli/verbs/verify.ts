import type { Command } from 'commander';
import type { Tie } from '../../checkpoint/ties.ts';
import { type Verification, verifyCheckpoint } from '../../checkpoint/verify.ts';
import { NodeError } from '../../errors.ts';
import type { CommonOptions, Register } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { parseCount } from '../parse.ts';
import { type EngineVerbOptions, engineOptions, withEngineOptions } from './engine-options.ts';

/** Tensors that fail, named in the text form; the rest are counted. */
const MAX_NAMED_TENSORS = 10;

/** Ties listed in the text form. */
const MAX_NAMED_TIES = 10;

interface VerifyVerbOptions extends CommonOptions, EngineVerbOptions {
  readonly base: string;
  readonly tensors?: number;
  readonly exact?: boolean;
}

export function verifyVerb(program: Command, register: Register): void {
  const command = program
    .command('verify')
    .argument('<dir>', 'a pulled checkpoint')
    .description('recompute a checkpoint from its recipe, decisions included, and compare')
    .requiredOption('--base <path>', 'the base checkpoint')
    .option('--tensors <n>', 'compare only this many tensors, drawn at random', parseCount)
    .option('--exact', 'want identical bytes (same kind of machine and backend)');
  register<VerifyVerbOptions>(withEngineOptions(command), async (context, [directory = ''], options) => {
    const verification = await verifyCheckpoint(
      {
        directory,
        base: options.base,
        tensors: options.tensors,
        exact: options.exact === true,
        engine: engineOptions(options),
      },
      { home: context.home },
      { signal: context.signal, onProgress: context.output.progress },
    );
    const { report, recipe, updates, beyond, ties, refolds } = verification;
    if (report.verdict === 'pass') {
      context.output.result({ recipe, updates, beyond, ties, refolds, ...report }, () => renderPass(verification));
      return EXIT.done;
    }
    const failed = report.tensors.filter((tensor) => tensor.verdict === 'fail');
    const named = failed.slice(0, MAX_NAMED_TENSORS).map(({ name, faults }) => `${name} (${faults.join(', ')})`);
    throw new NodeError(
      'VERIFY_FAILED',
      `this checkpoint is not what recipe ${recipe} makes: ${failed.length} of ${report.checked} tensors differ: ` +
        `${named.join('; ')}${failed.length > named.length ? '; …' : ''}. ` +
        (ties.length === 0 ? '' : `${ties.length} split ranks are ties; ${refolds} other choices of them fail too. `) +
        'Do not use it; pull from another node.',
      { recipe, updates, ties, refolds, ...report },
    );
  });
}

function renderPass({ recipe, updates, beyond, report, ties }: Verification): string {
  const implied = report.impliedLambda;
  return [
    `verified: recipe ${recipe}, ${updates} updates, ${report.checked} of ${report.total} tensors`,
    `lambda ${report.lambda.toPrecision(8)}${implied === null ? '' : ` (implied ${implied.min.toPrecision(8)} … ${implied.max.toPrecision(8)})`}`,
    report.exact
      ? 'every compared byte is the same'
      : 'each tensor is within 1e-3 of what the recipe makes: backends differ by less, but a tamperer has that room too; --exact leaves none',
    ...ties.slice(0, MAX_NAMED_TIES).map(tieLine),
    ...(ties.length > MAX_NAMED_TIES ? [`and ${ties.length - MAX_NAMED_TIES} more ties: see --json`] : []),
    ...(beyond > 0 ? [`an older recipe: this home holds ${beyond} updates that it was not decided on`] : []),
  ].join('\n');
}

function tieLine({ step, tensor, splitRank, splitNeighbour, taken }: Tie): string {
  const whose = taken === splitRank ? 'that of this machine' : 'the neighbour of that of this machine';
  return (
    `a tie at update ${step + 1} in ${tensor}: split ranks ${splitRank} and ${splitNeighbour} are both right, ` +
    `the checkpoint agrees with ${taken}, ${whose}`
  );
}
