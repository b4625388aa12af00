import type { Command } from 'commander';
import type { CommonOptions, Register } from '../../context.ts';
import { EXIT } from '../../exit-codes.ts';
import { formatBytes, table } from '../../output.ts';
import { type InspectDocument, recognise } from './recognise.ts';

interface InspectOptions extends CommonOptions {
  readonly charter?: string;
  readonly base?: string;
}

export function inspectVerb(program: Command, register: Register): void {
  const command = program
    .command('inspect')
    .argument(
      '<path>',
      'a checkpoint, LoRA adapter, update, payload, charter, record, recipe or other document of kinmerge',
    )
    .description('say what a file or directory is, by its content, and check it')
    .option('--charter <file>', 'the charter that a bare payload belongs to')
    .option('--base <path>', 'the base that a bare payload or a LoRA adapter belongs to');
  register<InspectOptions>(command, async (context, [path = ''], { charter, base }) => {
    const run = { signal: context.signal, onProgress: context.output.progress };
    const document = await recognise(path, { charter, base }, run);
    context.output.result(document, () => render(document));
    return EXIT.done;
  });
}

function render(document: InspectDocument): string {
  const { kind, path, bytes, tensors, ...facts } = document;
  const rows = [['kind', kind], ['path', path], ['size', formatBytes(bytes)], ...rowsOf(facts, '')];
  if (!Array.isArray(tensors) || tensors.length === 0) return table(rows);
  const columns = Object.keys(tensors[0]);
  const lines = tensors.map((tensor) => columns.map((column) => cell(tensor[column])));
  const right = columns.map((column) => typeof tensors[0][column] === 'number');
  return `${table([...rows, ['tensors', String(tensors.length)]])}\n\n${table([columns, ...lines], right)}`;
}

function rowsOf(facts: object, prefix: string): string[][] {
  return Object.entries(facts).flatMap(([key, value]: [string, unknown]) => {
    if (Array.isArray(value)) {
      return value.map((item: unknown, i) => [
        i === 0 ? prefix + key : '',
        typeof item === 'object' ? JSON.stringify(item) : cell(item),
      ]);
    }
    if (typeof value === 'object' && value !== null) return rowsOf(value, `${prefix}${key}.`);
    return [[prefix + key, cell(value)]];
  });
}

function cell(value: unknown): string {
  if (Array.isArray(value)) return `[${value.join(', ')}]`;
  if (typeof value === 'number' && !Number.isInteger(value)) return value.toPrecision(6);
  return value === null || value === '' ? '-' : String(value);
}
