import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BarDefinition } from '../bars.ts';
import type { BenchmarkContext, Cell } from '../benchmark.ts';
import { runModule } from '../child.ts';
import { measuredModule } from '../compiled.ts';
import type { Findings, Group } from '../groups.ts';
import { pinToBarCores } from '../machine.ts';
import { describePair, pairIn } from '../pair.ts';
import { interleave, median, medianRatio } from '../rounds.ts';
import type { SyntheticPair } from '../synthetic/generate.ts';
import { LLAMA_1B, LLAMA_TINY, llama } from '../synthetic/model.ts';
import type { Decoded } from './decode-child.ts';
import type { Encoded } from './encode-child.ts';
import type { Read } from './read-child.ts';
import { countSizes, sizesRow } from './sizes.ts';
import { boundBytes, defaultSettings, type EncodeJob, MODES } from './subject.ts';

const DENSITY = 0.1;
const GIB = 2 ** 30;

const READ = 'codec/read-child';
const ENCODE = 'codec/encode-child';
const DECODE = 'codec/decode-child';

const bars: readonly BarDefinition[] = [
  {
    id: 'codec.encode.time',
    what: 'encoding 1.1 billion BF16 parameters at 10 % on 2 cores, default settings / reading both checkpoints',
    unit: 'ratio',
    target: 10,
    sense: 'at most',
    numeratorIs: 'seconds from opening the checkpoints until the update has its name, in a fresh process',
    denominatorIs: 'seconds of fs.readSync over all weight files into one reused 1 MiB buffer, in a fresh process',
  },
  {
    id: 'codec.encode.rss',
    what: 'peak resident memory of the encoding process, the highest of all rounds',
    unit: 'GiB',
    target: 1,
    sense: 'at most',
    numeratorIs: 'bytes',
    denominatorIs: 'bytes of a GiB',
  },
  {
    id: 'codec.decode.time',
    what: 'decoding that payload into one reused float32 buffer per tensor / reading one checkpoint',
    unit: 'ratio',
    target: 6,
    sense: 'at most',
    numeratorIs: 'seconds from opening the update to the last tensor, in a fresh process',
    denominatorIs: 'seconds of fs.readSync over the weight files of one checkpoint, as above',
  },
];

/** Speed, memory and size on a checkpoint of a size that people have. */
export const llamaGroup: Group = { bars, run };

/** The pair of `llamaGroup`, which the adapter's group uses too. */
export function llamaModel(quick: boolean) {
  return quick ? llama('llama-tiny', LLAMA_TINY) : llama('llama-1.1b', LLAMA_1B);
}

async function run(context: BenchmarkContext, findings: Findings): Promise<void> {
  const { quick, workspace } = context;
  const prefix = await pinToBarCores();
  const model = llamaModel(quick);
  const pair = await pairIn(context, model);
  findings.notes.push(describePair(model, pair));
  const update = (mode: string) => join(workspace.scratch, `llama-${mode}.update`);
  const sizes = await timeEncode(context, findings, { pair, prefix, update });
  await timeDecode(context, findings, { pair, prefix, path: update(defaultSettings(DENSITY).mode) });
  await compareSizes(context, findings, { sizes, update });
  for (const mode of MODES) await rm(update(mode), { force: true });
}

interface Timed {
  readonly pair: SyntheticPair;
  readonly prefix: readonly string[];
}

async function timeEncode(
  { workspace, signal, say, rounds: count }: BenchmarkContext,
  { outcomes, tables }: Findings,
  { pair, prefix, update }: Timed & { update: (mode: string) => string },
): Promise<ReadonlyMap<string, Encoded>> {
  const options = { signal, prefix };
  const reader = await measuredModule(workspace, READ, signal);
  const encoder = await measuredModule(workspace, ENCODE, signal);
  const paths = [...(await weightFiles(pair.base)), ...(await weightFiles(pair.finetune))];
  const settings = defaultSettings(DENSITY);
  const other = MODES.find((mode) => mode !== settings.mode)!;
  const read = () => runModule<Read>(reader, { paths }, options);
  const encode = (mode: (typeof MODES)[number]) => () => {
    const { base, finetune } = pair;
    const job: EncodeJob = { base, finetune, out: update(mode), settings: { ...settings, mode } };
    return runModule<Encoded>(encoder, job, options);
  };
  await read();
  const rounds = await interleave(count, { read, encode: encode(settings.mode), other: encode(other) }, (round) =>
    say(`encoding ${pair.elements} parameters: round ${round + 1} of ${count}`),
  );
  const ratio = (pick: (round: (typeof rounds)[number]) => Encoded) =>
    medianRatio(rounds.map((round) => ({ numerator: pick(round).seconds, denominator: round.read.seconds })));
  outcomes.set(
    'codec.encode.time',
    ratio((round) => round.encode),
  );
  const peak = Math.max(...rounds.map((round) => round.encode.peak));
  outcomes.set('codec.encode.rss', { numerator: peak, denominator: GIB });
  const row = (mode: string, step: 'encode' | 'other'): Record<string, Cell> => {
    const runs = rounds.map((round) => round[step]);
    const seconds = median(runs.map((one) => one.seconds));
    const { numerator, denominator } = ratio((round) => round[step]);
    return {
      what: `encode, mode ${mode}${step === 'encode' ? ' (default)' : ''}`,
      seconds,
      'with process start': median(runs.map((one) => one.wallSeconds)),
      'M parameters/s': pair.elements / seconds / 1e6,
      '/ reading': numerator / denominator,
      'peak MiB': Math.max(...runs.map((one) => one.peak)) / 2 ** 20,
      'idle MiB': median(runs.map((one) => one.idle)) / 2 ** 20,
    };
  };
  const seconds = median(rounds.map((round) => round.read.seconds));
  const reading = {
    what: 'reading both checkpoints',
    seconds,
    'with process start': median(rounds.map((round) => round.read.wallSeconds)),
    'GB/s': rounds[0]!.read.bytes / seconds / 1e9,
  };
  tables.push({
    title: `speed, ${pair.elements} BF16 parameters at ${100 * DENSITY} %, medians of ${count} rounds`,
    rows: [row(settings.mode, 'encode'), row(other, 'other'), reading],
  });
  return new Map([
    [settings.mode, rounds[0]!.encode],
    [other, rounds[0]!.other],
  ]);
}

async function timeDecode(
  { workspace, signal, say, rounds: count }: BenchmarkContext,
  { outcomes, tables }: Findings,
  { pair, prefix, path }: Timed & { path: string },
): Promise<void> {
  const options = { signal, prefix };
  const reader = await measuredModule(workspace, READ, signal);
  const decoder = await measuredModule(workspace, DECODE, signal);
  const paths = await weightFiles(pair.base);
  const read = () => runModule<Read>(reader, { paths }, options);
  const decode = () => runModule<Decoded>(decoder, { path }, options);
  await read();
  const rounds = await interleave(count, { read, decode }, (round) =>
    say(`decoding ${pair.elements} parameters: round ${round + 1} of ${count}`),
  );
  const ratio = medianRatio(
    rounds.map((round) => ({ numerator: round.decode.seconds, denominator: round.read.seconds })),
  );
  outcomes.set('codec.decode.time', ratio);
  const seconds = median(rounds.map((round) => round.decode.seconds));
  tables.push({
    title: `speed of decoding that payload into one float32 buffer, medians of ${count} rounds`,
    rows: [
      {
        what: 'decode',
        seconds,
        'with process start': median(rounds.map((round) => round.decode.wallSeconds)),
        'M parameters/s': pair.elements / seconds / 1e6,
        '/ reading': ratio.numerator / ratio.denominator,
        'peak MiB': Math.max(...rounds.map((round) => round.decode.peak)) / 2 ** 20,
      },
      { what: 'reading one checkpoint', seconds: median(rounds.map((round) => round.read.seconds)) },
    ],
  });
}

/** The whole payloads beside the bound; beside everything else on three layers, which zstd -19 takes a minute for. */
async function compareSizes(
  { workspace, signal, say, quick }: BenchmarkContext,
  { tables }: Findings,
  { sizes, update }: { sizes: ReadonlyMap<string, Encoded>; update: (mode: string) => string },
): Promise<void> {
  const whole: Record<string, Cell>[] = [];
  const subset: Record<string, Cell>[] = [];
  const { layers } = quick ? LLAMA_TINY : LLAMA_1B;
  const chosen = [0, layers >> 1, layers - 1];
  const only = (name: string) => chosen.some((layer) => name.startsWith(`model.layers.${layer}.`));
  for (const [mode, { bytes, nnz, elements }] of sizes) {
    say(`sizes of the ${elements} parameters: mode ${mode}`);
    const bound = boundBytes({ nnz, elements });
    whole.push({
      mode,
      'kept %': (100 * nnz) / elements,
      'bound bytes': Math.ceil(bound),
      'payload bytes': bytes,
      'payload/bound': bytes / bound,
      'fp16/payload': (2 * elements) / bytes,
    });
    subset.push(sizesRow({ mode }, await countSizes(update(mode), { only, scratch: workspace.scratch, signal })));
  }
  tables.push({ title: `sizes, whole checkpoint at ${100 * DENSITY} %`, rows: whole });
  tables.push({ title: `sizes, layers ${chosen.join(', ')} of it, every column of these alone`, rows: subset });
}

/** The safetensors files of a checkpoint directory. */
export async function weightFiles(dir: string): Promise<string[]> {
  const names = (await readdir(dir)).filter((name) => name.endsWith('.safetensors'));
  return names.sort().map((name) => join(dir, name));
}
