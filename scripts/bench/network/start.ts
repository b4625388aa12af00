import { join } from 'node:path';
import type { BarDefinition, Fraction } from '../bars.ts';
import type { BenchmarkContext } from '../benchmark.ts';
import { runModule } from '../child.ts';
import { measuredModule } from '../compiled.ts';
import type { Findings, Group } from '../groups.ts';
import { pinToBarCores } from '../machine.ts';
import { interleave, median, medianRatio } from '../rounds.ts';
import { joinHome, makeCommunity } from './community.ts';
import { decided, peakOf, startDaemon, until, upToDate } from './daemon.ts';
import type { HomeJob, MadeHome } from './home-child.ts';

const RECORDS = 10_000;
const AUTHORS = 20;
/** Each of them is compared with every other update that gets as far: all 10,000 would make 50 million comparisons. */
const ACCEPTED = 32;
const MB = 1e6;

const bars: readonly BarDefinition[] = [
  {
    id: 'start.10000',
    what: 'start of a daemon with 10,000 records / of one with an empty log: the worse of the ready line and of all decided',
    unit: 'ratio',
    target: 5,
    sense: 'at most',
    numeratorIs: 'seconds from the start of the process, 10,000 records',
    denominatorIs: 'the same with an empty log, in the same round',
  },
  {
    id: 'start.10000.memory',
    what: 'peak resident memory of that daemon above that of the empty one',
    unit: 'MB',
    target: 200,
    sense: 'at most',
    numeratorIs: 'bytes at the peak until all is decided, less those of the empty one in the same round',
    denominatorIs: 'bytes of a MB',
  },
];

/** What a long history costs a node at every start. */
export const startGroup: Group = { bars, run };

interface Started {
  readonly ready: number;
  readonly decided: number;
  readonly peak: number;
}

async function run(context: BenchmarkContext, { outcomes, tables, notes }: Findings): Promise<void> {
  const { quick, workspace, signal, say, rounds: count } = context;
  const prefix = await pinToBarCores();
  const directory = join(workspace.scratch, 'start');
  const community = await makeCommunity(directory);
  const empty = await joinHome(community, join(directory, 'empty'), signal);
  const full = await joinHome(community, join(directory, 'full'), signal);
  const records = quick ? 30 : RECORDS;
  const accepted = quick ? 5 : ACCEPTED;
  say(`a home of ${records} records`);
  const job: HomeJob = { home: full, records, authors: AUTHORS, payload: 'valid', accepted };
  const made = await runModule<MadeHome>(await measuredModule(workspace, 'network/home-child', signal), job, {
    signal,
  });
  for (const home of [empty, full]) {
    // Once before: what is derived from the log is there, as on a node that ran before.
    const daemon = await startDaemon(context, home);
    const { log } = await until(daemon, upToDate, signal);
    if (home === full && log.accepted !== accepted) throw new Error(`${log.accepted} were accepted, not ${accepted}`);
    await daemon.stop();
  }
  const start = async (home: string): Promise<Started> => {
    const daemon = await startDaemon(context, home, { prefix });
    await until(daemon, decided, signal);
    const seconds = (performance.now() - daemon.started) / 1000;
    const peak = await peakOf(daemon);
    await daemon.stop();
    return { ready: daemon.readySeconds, decided: seconds, peak };
  };
  const rounds = await interleave(count, { empty: () => start(empty), full: () => start(full) }, (round) =>
    say(`start: round ${round + 1} of ${count}`),
  );
  const ratio = (of: (one: Started) => number) =>
    medianRatio(rounds.map(({ empty, full }): Fraction => ({ numerator: of(full), denominator: of(empty) })));
  const [ready, all] = [ratio((one) => one.ready), ratio((one) => one.decided)];
  const value = ({ numerator, denominator }: Fraction) => numerator / denominator;
  outcomes.set('start.10000', value(ready) > value(all) ? ready : all);
  const above = rounds.map(({ empty, full }) => ({ numerator: full.peak - empty.peak, denominator: MB }));
  outcomes.set('start.10000.memory', medianRatio(above));
  const row = (log: string, runs: readonly Started[]) => ({
    log,
    'ready s': median(runs.map((one) => one.ready)),
    'decided s': median(runs.map((one) => one.decided)),
    'peak MB': median(runs.map((one) => one.peak)) / MB,
  });
  tables.push({
    title: `start of a daemon, medians of ${count} rounds`,
    rows: [
      row(
        'empty',
        rounds.map((round) => round.empty),
      ),
      row(
        `${records} records`,
        rounds.map((round) => round.full),
      ),
      { log: 'ratio', 'ready s': value(ready), 'decided s': value(all), 'peak MB': null },
    ],
  });
  notes.push(
    `start: ${records} records of ${AUTHORS} authors (${made.records} bytes) with payloads of ${Math.round(made.payloads / records)} bytes, of which ${accepted} are accepted and the others declined by their norm; both homes were open before, and their comparisons and checkpoints are there`,
  );
}
