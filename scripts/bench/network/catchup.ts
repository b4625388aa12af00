import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BarDefinition } from '../bars.ts';
import type { BenchmarkContext } from '../benchmark.ts';
import { runModule } from '../child.ts';
import { measuredModule } from '../compiled.ts';
import type { Findings, Group } from '../groups.ts';
import { pinToBarCores } from '../machine.ts';
import { interleave, median, medianRatio } from '../rounds.ts';
import type { CatchupJob, CaughtUp } from './catchup-child.ts';
import { type BenchCommunity, joinHome, makeCommunity } from './community.ts';
import type { HomeJob, MadeHome } from './home-child.ts';
import type { PlainJob } from './plain-child.ts';
import { startModule } from './process.ts';
import type { Serving } from './serve-child.ts';

/** The bar, then what is shown beside it. */
const UPDATES = [1_000, 100, 10] as const;
const AUTHORS = 20;
/** What an expert of 0.45 million parameters has at a fifth of its entries: about the smallest update that people make. */
const PAYLOAD_BYTES = 64 * 1024;

const bars: readonly BarDefinition[] = [
  {
    id: 'catchup.1000',
    what: 'catch-up of a fresh node with 1,000 updates of 64 KiB, until all are held and durable / the same bytes over a plain stream, and verification',
    unit: 'ratio',
    target: 2,
    sense: 'at most',
    numeratorIs: 'CPU seconds of the fresh node, all threads, admission and fold left out',
    denominatorIs:
      'CPU seconds of a process that gets the same records and payloads over one libp2p stream (tcp, tls, yamux) and verifies signatures and hashes',
  },
];

/** What a node spends to come up to date, beside what the bytes and their checks cost anybody. */
export const catchupGroup: Group = { bars, run };

interface Round {
  readonly plain: CaughtUp;
  readonly ours: CaughtUp;
}

async function run(context: BenchmarkContext, { outcomes, tables, notes }: Findings): Promise<void> {
  const { quick, workspace, rounds: count } = context;
  const directory = join(workspace.scratch, 'catchup');
  const community = await makeCommunity(directory);
  const rows = [];
  for (const updates of quick ? [12] : UPDATES) {
    const rounds = await measure(context, community, directory, updates);
    const ratio = medianRatio(
      rounds.map(({ plain, ours }) => ({ numerator: ours.cpuSeconds, denominator: plain.cpuSeconds })),
    );
    if (rows.length === 0) outcomes.set('catchup.1000', ratio);
    const of = (side: keyof Round, what: keyof CaughtUp) => median(rounds.map((round) => round[side][what]));
    rows.push({
      updates,
      'node CPU s': of('ours', 'cpuSeconds'),
      'plain CPU s': of('plain', 'cpuSeconds'),
      ratio: ratio.numerator / ratio.denominator,
      'node wall s': of('ours', 'seconds'),
      'plain wall s': of('plain', 'seconds'),
      'node peak MB': of('ours', 'peak') / 1e6,
      'plain peak MB': of('plain', 'peak') / 1e6,
    });
  }
  tables.push({ title: `catch-up, payloads of ${PAYLOAD_BYTES} bytes, medians of ${count} rounds`, rows });
  notes.push(
    'catch-up: from before the host is made until everything is held and durable (node), or verified (plain); the serving process is counted on neither side; the node is the whole network part with gossip, sync, fetching and stores, without admission and fold, which run in threads of their own',
  );
}

async function measure(
  { workspace, signal, say, rounds: count }: BenchmarkContext,
  community: BenchCommunity,
  directory: string,
  updates: number,
): Promise<Round[]> {
  const prefix = await pinToBarCores();
  const module = (name: string) => measuredModule(workspace, `network/${name}`, signal);
  const home = await joinHome(community, join(directory, `served-${updates}`), signal);
  const job: HomeJob = { home, records: updates, authors: AUTHORS, payload: PAYLOAD_BYTES };
  await runModule<MadeHome>(await module('home-child'), job, { signal });
  const served = async <T>(by: string, use: (peer: string) => Promise<T>): Promise<T> => {
    const server = await startModule<Serving>(await module(by), [JSON.stringify({ home })], { signal, prefix });
    try {
      return await use(server.ready.address);
    } finally {
      await server.stop();
    }
  };
  return interleave(
    count,
    {
      plain: () =>
        served('plain-serve-child', async (peer) => {
          const job: PlainJob = { peer, records: updates };
          return runModule<CaughtUp>(await module('plain-child'), job, { signal, prefix });
        }),
      ours: () =>
        served('serve-child', async (peer) => {
          const fresh = await joinHome(community, join(directory, 'fresh'), signal);
          const job: CatchupJob = { home: fresh, peer, records: updates };
          const done = await runModule<CaughtUp>(await module('catchup-child'), job, { signal, prefix });
          await rm(fresh, { recursive: true, force: true });
          return done;
        }),
    },
    (round) => say(`catch-up with ${updates}: round ${round + 1} of ${count}`),
  );
}
