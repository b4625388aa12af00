import type { Command } from 'commander';
import { type Container, openContainer } from '../../../../src/codec/index.ts';
import { writeMerged } from '../../../../src/merge/index.ts';
import type { RunOptions } from '../../../../src/run-options.ts';
import { type Checkpoint, createSafetensors, isFloat, narrow, openCheckpoint } from '../../../../src/tensors/index.ts';
import { layoutFile } from '../../../../src/tensors/layout.ts';
import { NodeError } from '../../../errors.ts';
import type { CommonOptions, Register } from '../../context.ts';
import { EXIT } from '../../exit-codes.ts';
import { formatBytes } from '../../output.ts';
import { denseDeltas } from './dense-deltas.ts';
import { closingAfter } from './files.ts';
import { checkOut } from './out.ts';

interface DecodeOptions extends CommonOptions {
  readonly base?: string;
  readonly out: string;
  readonly apply?: boolean;
  readonly force?: boolean;
}

export function decodeVerb(program: Command, register: Register): void {
  const command = program
    .command('decode')
    .argument('<update>', 'an update file, as `encode` writes it')
    .description(
      'write the task vector of an update as one float32 safetensors file, or with --apply base + update as a checkpoint directory',
    )
    .requiredOption('--out <path>', 'the file to write; with --apply the directory')
    .option('--base <path>', 'the base; its names and shapes are checked against the update')
    .option('--apply', "write base + update in the base's dtypes, with its configuration and tokenizer files")
    .option('--force', 'replace an existing file, or an existing checkpoint directory');
  register<DecodeOptions>(command, async (context, [updatePath = ''], options) => {
    const run = { signal: context.signal, onProgress: context.output.progress };
    const apply = options.apply === true;
    if (apply && options.base === undefined) {
      throw new NodeError('USAGE', 'decode --apply adds the update to a base: name it with --base');
    }
    const overwrite = options.force === true;
    const inputs = [updatePath, ...(options.base === undefined ? [] : [options.base])];
    const out = await checkOut(options.out, { kind: apply ? 'directory' : 'file', force: overwrite, inputs });
    const done = await closingAfter(async (keep) => {
      const update = keep(await openContainer(updatePath, run));
      const base = options.base === undefined ? undefined : keep(await openCheckpoint(options.base, run));
      if (base !== undefined) checkBaseOf(update, base);
      if (!apply) return writeTaskVector(update, out, run);
      const metadata = { 'kinmerge.kind': 'applied update' };
      const { places } = layoutFile([...base!.tensors.values()]);
      const deltas = keep(denseDeltas(update, places.keys(), run));
      return writeMerged({ base: base!, deltas, out, overwrite, metadata }, run);
    });
    const kind = apply ? 'checkpoint' : 'task vector';
    context.output.result(
      { out, kind, ...done },
      () => `${out}\n${kind}, ${done.tensors} tensors, ${formatBytes(done.bytes)}`,
    );
    return EXIT.done;
  });
}

/** Every tensor of the update's table as float32, zeros included. */
async function writeTaskVector(update: Container, out: string, run: RunOptions) {
  const plan = update.table.map(({ name, shape }) => ({ name, shape, dtype: 'F32' as const }));
  const writer = await createSafetensors(out, plan, { metadata: { 'kinmerge.kind': 'task vector' } });
  const names = update.table.map(({ name }) => name);
  const deltas = denseDeltas(update, names, run);
  try {
    let bytes = 0;
    for (const [index, { name, elements }] of update.table.entries()) {
      run.signal?.throwIfAborted();
      const values = new Float32Array(elements);
      await deltas.read(index, values);
      await writer.write(name, narrow(values, 'F32'));
      bytes += values.byteLength;
      run.onProgress?.({ phase: 'writing', done: index + 1, total: plan.length, unit: 'tensors' });
    }
    await writer.commit();
    return { tensors: plan.length, bytes };
  } catch (error) {
    await writer.abort();
    throw error;
  } finally {
    await deltas.close();
  }
}

/** @throws NodeError `BASE_MISMATCH` naming every difference */
function checkBaseOf(update: Container, base: Checkpoint): void {
  const table = new Map(update.table.map(({ name, shape }) => [name, shape.join()]));
  const floats = [...base.tensors.values()].filter(({ dtype }) => isFloat(dtype));
  const differences: string[] = [];
  for (const { name, shape } of floats) {
    const expected = table.get(name);
    table.delete(name);
    if (expected === undefined) differences.push(`${name} is not in the update`);
    else if (expected !== shape.join()) differences.push(`${name} is [${shape.join()}], in the update [${expected}]`);
  }
  for (const name of table.keys()) differences.push(`${name} is missing`);
  if (differences.length === 0) return;
  const shown = differences.slice(0, 10).join('; ');
  throw new NodeError(
    'BASE_MISMATCH',
    `${base.path} is not the base of this update: ${shown}${differences.length > 10 ? '; …' : ''}. Use the base that it was encoded from.`,
    { path: base.path, differences: differences.slice(0, 100) },
  );
}
