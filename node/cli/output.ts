import { KinmergeError } from '../../src/errors.ts';
import type { Progress } from '../../src/run-options.ts';

/** Two progress lines are at least this far apart, in milliseconds. */
const PROGRESS_LINE_MS = 100;

/**
 * Where a command writes. With `--json` exactly one document goes to stdout; everything for people goes to stderr, and
 * progress only to a terminal.
 */
export class Output {
  readonly json: boolean;
  readonly #stdout: NodeJS.WritableStream;
  readonly #stderr: NodeJS.WritableStream & { isTTY?: boolean };
  #progressShown = false;
  #lastProgress = 0;

  constructor(
    options: { json: boolean },
    components: { stdout: NodeJS.WritableStream; stderr: NodeJS.WritableStream },
  ) {
    this.json = options.json;
    this.#stdout = components.stdout;
    this.#stderr = components.stderr;
  }

  /** The result: `document` with --json, else what `text` renders. */
  result(document: unknown, text: () => string): void {
    this.clearProgress();
    this.#stdout.write(this.json ? `${JSON.stringify(document, toJson)}\n` : `${text()}\n`);
  }

  /** A line for people, never on stdout. */
  note(line: string): void {
    this.clearProgress();
    this.#stderr.write(`${line}\n`);
  }

  error(error: unknown): void {
    this.clearProgress();
    const code = error instanceof KinmergeError ? error.code : 'UNEXPECTED';
    const message = error instanceof Error ? error.message : String(error);
    const fields = error instanceof KinmergeError ? error.fields : {};
    if (this.json) this.#stdout.write(`${JSON.stringify({ error: { code, message, fields } }, toJson)}\n`);
    else this.#stderr.write(`kinmerge: ${message}\n  [${code}]\n`);
    if (code === 'UNEXPECTED' && error instanceof Error && error.stack !== undefined) {
      this.#stderr.write(`${error.stack}\n`);
    }
  }

  /** A progress line that replaces the last one; quiet when stderr is not a terminal. */
  readonly progress = (progress: Progress): void => {
    if (this.#stderr.isTTY !== true || this.json) return;
    const now = performance.now();
    if (now - this.#lastProgress < PROGRESS_LINE_MS) return;
    this.#lastProgress = now;
    this.#progressShown = true;
    this.#stderr.write(`\r\u001b[K${renderProgress(progress)}`);
  };

  clearProgress(): void {
    if (!this.#progressShown) return;
    this.#progressShown = false;
    this.#stderr.write('\r\u001b[K');
  }
}

function renderProgress({ phase, done, total, unit }: Progress): string {
  const amount = (value: number) => (unit === 'bytes' ? formatBytes(value) : `${value}`);
  if (total <= 0) return `${phase} ${amount(done)}`;
  const percent = Math.floor((100 * done) / total);
  return `${phase} ${percent}% (${amount(done)} of ${amount(total)}${unit === 'bytes' ? '' : ` ${unit}`})`;
}

/** Bytes with a decimal unit: 52.3 kB. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** Columns padded to their widest cell; numbers are the caller's to format. */
export function table(rows: readonly (readonly string[])[], alignRight: readonly boolean[] = []): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          alignRight[column] ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** JSON has no bigint and no typed arrays: ids and sums travel as strings, bytes as hex. */
function toJson(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (value instanceof Map) return Object.fromEntries(value);
  return value;
}
