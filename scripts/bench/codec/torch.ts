import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BarDefinition } from '../bars.ts';
import type { BenchmarkContext, Cell } from '../benchmark.ts';
import { runModule, runProgram } from '../child.ts';
import { measuredModule } from '../compiled.ts';
import type { Findings, Group } from '../groups.ts';
import { BAR_CORES, pinToBarCores } from '../machine.ts';
import { describePair, pairIn } from '../pair.ts';
import { findTorch } from '../python.ts';
import { interleave, median, medianRatio } from '../rounds.ts';
import { vit } from '../synthetic/model.ts';
import type { EncodeChildJob, Encoded } from './encode-child.ts';
import { weightFiles } from './llama.ts';
import { defaultSettings } from './subject.ts';

const DENSITY = 0.1;
const SCRIPT = fileURLToPath(new URL('./torch_reference.py', import.meta.url));
const ENCODE = 'codec/encode-child';

type Step = 'subtract' | 'kthvalue' | 'mask';

/** What `torch_reference.py` prints; memory in bytes. */
interface TorchRun {
  readonly torch: string;
  readonly threads: number;
  readonly parameters: number;
  readonly kept: number;
  readonly seconds: Readonly<Record<'read' | Step, number>>;
  /** Of the steps the second time. */
  readonly again: Readonly<Record<Step, number>>;
  readonly idle: number;
  readonly peak: number;
}

const bars: readonly BarDefinition[] = [
  {
    id: 'codec.torch.rate',
    what: '86 million BF16 parameters at 10 %, both sides warm: our rate with reading, coding and writing / that of torch without',
    unit: 'ratio',
    target: 8,
    sense: 'at least',
    numeratorIs:
      'parameters/s of the whole encoding, reading and writing included, on threads that have encoded before',
    denominatorIs:
      'parameters/s of subtract, kthvalue and mask alone, the second time in a process; reading is not counted',
  },
  {
    id: 'codec.torch.memory',
    what: 'peak resident memory of the same two processes: ours / that of torch',
    unit: 'ratio',
    target: 0.1,
    sense: 'at most',
    numeratorIs: 'bytes at the peak of the whole process, Node included',
    denominatorIs: 'bytes at the peak of the whole process, Python and torch included',
  },
];

/** Against what a researcher has: the same mask in torch. */
export const torchGroup: Group = { bars, run };

async function run(context: BenchmarkContext, { outcomes, tables, notes }: Findings): Promise<void> {
  const { quick, workspace, signal, say, rounds: count, install } = context;
  const python = await findTorch({ wanted: context.python, install, signal });
  const prefix = await pinToBarCores();
  const model = quick ? vit('vit-tiny', { width: 32, blocks: 2 }) : vit('vit-b16', { width: 768, blocks: 12 });
  const pair = await pairIn(context, model);
  notes.push(describePair(model, pair));
  const out = join(workspace.scratch, 'vit.update');
  const files = [(await weightFiles(pair.base))[0]!, (await weightFiles(pair.finetune))[0]!];
  const command = [python, SCRIPT, ...files, String(DENSITY), String(BAR_CORES)];
  const job: EncodeChildJob = {
    base: pair.base,
    finetune: pair.finetune,
    out,
    settings: defaultSettings(DENSITY),
    again: true,
  };
  const encoder = await measuredModule(workspace, ENCODE, signal);
  const rounds = await interleave(
    count,
    {
      torch: async () => {
        const { stdout, wallSeconds } = await runProgram(command, { signal, prefix });
        return { ...(JSON.parse(stdout) as TorchRun), wallSeconds };
      },
      ours: () => runModule<Encoded>(encoder, job, { signal, prefix }),
    },
    (round) => say(`torch and encoding, ${pair.elements} parameters: round ${round + 1} of ${count}`),
  );
  await rm(out, { force: true });
  const stepSeconds = (steps: Readonly<Record<Step, number>>) => steps.subtract + steps.kthvalue + steps.mask;
  const torchSeconds = ({ seconds }: TorchRun) => stepSeconds(seconds);
  const rate = rounds.map(({ ours, torch }) => ({
    numerator: ours.elements / ours.secondsAgain!,
    denominator: torch.parameters / stepSeconds(torch.again),
  }));
  outcomes.set('codec.torch.rate', medianRatio(rate));
  const ratio = (of: (round: (typeof rounds)[number]) => number) => median(rounds.map(of)).toFixed(2);
  const first = ratio(({ ours, torch }) => torchSeconds(torch) / ours.seconds);
  const withReading = ratio(({ ours, torch }) => (torch.seconds.read + torchSeconds(torch)) / ours.seconds);
  notes.push(
    `the first encoding of a process, its threads' start included, is ${first} times as fast as torch's steps the first time, and ${withReading} times as fast as these with their reading`,
  );
  outcomes.set(
    'codec.torch.memory',
    medianRatio(rounds.map(({ ours, torch }) => ({ numerator: ours.peak, denominator: torch.peak }))),
  );
  const row = (what: string, seconds: number, memory: readonly { idle: number; peak: number }[]) => {
    const peak = median(memory.map((one) => one.peak));
    const aboveIdle = median(memory.map((one) => one.peak - one.idle));
    const cells: Record<string, Cell> = {
      what,
      seconds,
      'M parameters/s': pair.elements / seconds / 1e6,
      'peak MiB': peak / 2 ** 20,
      'above idle MiB': aboveIdle / 2 ** 20,
      'above idle bytes/parameter': aboveIdle / pair.elements,
    };
    return cells;
  };
  const ours = rounds.map((round) => round.ours);
  const torch = rounds.map((round) => round.torch);
  const { torch: version, threads, kept } = torch[0]!;
  const reading = median(torch.map((one) => one.seconds.read));
  tables.push({
    title: `against torch ${version} with ${threads} threads, medians of ${count} rounds`,
    rows: [
      row('encode, first: read, select, code, write', median(ours.map((one) => one.seconds)), ours),
      row('encode, again', median(ours.map((one) => one.secondsAgain!)), ours),
      row('torch, first: subtract, kthvalue, mask', median(torch.map(torchSeconds)), torch),
      row('torch, again', median(torch.map((one) => stepSeconds(one.again))), torch),
      row('torch: the same and reading', reading + median(torch.map(torchSeconds)), torch),
    ],
  });
  notes.push(`${python}: torch's mask has ${kept} entries, ties at the threshold included; ours has ${ours[0]!.nnz}`);
}
