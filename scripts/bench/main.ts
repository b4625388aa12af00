/**
 * `npm run bench -- <benchmark> [--json] [--quick] [--only IDS] [--dir DIR] [--keep] [--rounds N] [--python PATH]
 * [--install-torch]`: measures, and holds the figures against their targets. Ends with 1 when a bar that was asked for
 * does not hold (not under --quick, whose figures mean nothing).
 */
import { parseArgs } from 'node:util';
import { isAsked } from './bars.ts';
import type { Benchmark } from './benchmark.ts';
import { type BenchmarkDocument, runBenchmark } from './document.ts';
import { BENCHMARKS } from './registry.ts';
import { renderDocument } from './render.ts';
import { MIN_ROUNDS } from './rounds.ts';
import { openWorkspace } from './workspace.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    /** One document on standard output. */
    json: { type: 'boolean', default: false },
    /** Tiny inputs, one round: only shows that everything runs. */
    quick: { type: 'boolean', default: false },
    /** Ids of bars, or their first parts, separated by commas. */
    only: { type: 'string' },
    /** Where files go; inputs that an earlier run kept there are taken again. */
    dir: { type: 'string' },
    /** Leaves all files behind. */
    keep: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    /** The Python interpreter that has torch. */
    python: { type: 'string' },
    /** Installs torch for Python from the system's packages where it is absent. */
    'install-torch': { type: 'boolean', default: false },
  },
});

try {
  const benchmark = chosen(positionals);
  const only = values.only?.split(',');
  const unknown = only?.find((id) => !benchmark.bars.some((bar) => isAsked(bar.id, [id])));
  if (unknown !== undefined) {
    throw new Error(`no bar is called ${unknown}; there are ${benchmark.bars.map((bar) => bar.id).join(', ')}`);
  }
  const document = await run(benchmark, only);
  process.stdout.write(values.json ? `${JSON.stringify(document)}\n` : `${renderDocument(document)}\n`);
  const failed = document.bars.some((bar) => isAsked(bar.id, only) && !bar.holds);
  if (failed && !values.quick) process.exitCode = 1;
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}

async function run(benchmark: Benchmark, only: readonly string[] | undefined): Promise<BenchmarkDocument> {
  const started = performance.now();
  const say = (line: string) => {
    process.stderr.write(`${((performance.now() - started) / 1000).toFixed(1).padStart(7)} s  ${line}\n`);
  };
  const stop = new AbortController();
  const interrupt = () => stop.abort(new Error('interrupted'));
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const workspace = await openWorkspace({
    dir: values.dir,
    keep: values.keep,
    onDisk: benchmark.onDisk ?? false,
    neededBytes: benchmark.neededBytes(values.quick),
  });
  try {
    return await runBenchmark(benchmark, {
      quick: values.quick,
      rounds: roundCount(),
      only,
      workspace,
      signal: stop.signal,
      say,
      python: values.python,
      install: values['install-torch'],
    });
  } finally {
    await workspace.dispose();
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

function chosen(names: readonly string[]): Benchmark {
  const benchmark = names.length === 1 ? BENCHMARKS.get(names[0]!) : undefined;
  if (benchmark !== undefined) return benchmark;
  const known = [...BENCHMARKS.values()].map(({ name, about }) => `  ${name}: ${about}`).join('\n');
  throw new Error(`name one benchmark, e.g. \`npm run bench -- codec\`:\n${known}`);
}

function roundCount(): number {
  if (values.rounds === undefined) return values.quick ? 1 : MIN_ROUNDS;
  const rounds = Number(values.rounds);
  const least = values.quick ? 1 : MIN_ROUNDS;
  if (Number.isInteger(rounds) && rounds >= least) return rounds;
  throw new Error(`--rounds wants a whole number from ${least}`);
}
