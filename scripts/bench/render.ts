/** Results as text for people. */
import { type Bar, NOT_ASKED } from './bars.ts';
import type { Cell, Table } from './benchmark.ts';
import type { BenchmarkDocument } from './document.ts';

export function renderDocument(document: BenchmarkDocument): string {
  const { machine, storage, tables, notes } = document;
  const bars = document.bars.filter((bar) => bar.reason !== NOT_ASKED);
  const memory = `${(machine.memoryBytes / 2 ** 30).toFixed(1)} GiB`;
  const lines = [
    `${document.benchmark}${document.quick ? ' (quick: tiny inputs, the figures mean nothing)' : ''}`,
    `${machine.cpu}, ${machine.cores} cores, ${memory}, ${machine.os}, Node ${machine.node}; files on ${storage}`,
    ...Object.entries(machine.programs).map(([name, version]) => `${name}: ${version ?? 'absent'}`),
    '',
    renderTable({ title: `bars (rounds: ${document.rounds})`, rows: bars.map(barRow) }),
    ...bars.filter((bar) => bar.reason !== undefined).map((bar) => `${bar.id}: ${bar.reason}`),
    ...tables.flatMap((table) => ['', renderTable(table)]),
    ...(notes.length === 0 ? [] : ['', ...notes.map((note) => `note: ${note}`)]),
  ];
  return lines.join('\n');
}

function barRow({ id, value, target, sense, unit, holds, numerator, denominator }: Bar): Record<string, Cell> {
  const goal = `${sense === 'at most' ? '<=' : '>='} ${target} ${unit}`;
  return { bar: id, value, target: goal, holds: holds ? 'yes' : 'NO', numerator, denominator };
}

/** Columns as wide as their widest cell; numbers to the right. */
export function renderTable({ title, rows }: Table): string {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = rows.map((row) => columns.map((column) => show(row[column] ?? null)));
  const widths = columns.map((column, i) => Math.max(column.length, ...cells.map((line) => line[i]!.length)));
  const isNumber = columns.map((column) => rows.some((row) => typeof row[column] === 'number'));
  const line = (texts: readonly string[]) =>
    texts
      .map((text, i) => (isNumber[i] ? text.padStart(widths[i]!) : text.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd();
  return [title, line(columns), line(widths.map((width) => '-'.repeat(width))), ...cells.map(line)].join('\n');
}

function show(cell: Cell): string {
  if (cell === null) return '-';
  if (typeof cell === 'string') return cell;
  if (Number.isInteger(cell)) return cell.toLocaleString('en-US');
  return Math.abs(cell) >= 1000 ? Math.round(cell).toLocaleString('en-US') : cell.toPrecision(4);
}
