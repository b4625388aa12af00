import { join } from 'node:path';
import type { BarDefinition } from '../bars.ts';
import type { BenchmarkContext } from '../benchmark.ts';
import { runModule } from '../child.ts';
import { measuredModule } from '../compiled.ts';
import type { Findings, Group } from '../groups.ts';
import { makeCommunity } from './community.ts';
import type { SyncCase, SyncJob, SyncRow } from './sync-child.ts';

const RECORDS = 10_000;
/** Of records that travel with their payloads: what eight small experts of 0.45 million parameters have, and more. */
const PAYLOAD_BYTES = 64 * 1024;
const LACKED = 10;

const EQUAL: SyncCase = { name: 'equal', server: 0, client: 0, where: 'end' };
const AT_END: SyncCase = { name: `lacks ${LACKED}, the last ones`, server: LACKED, client: 0, where: 'end' };
const ANYWHERE: SyncCase = {
  name: `lacks ${LACKED}, from branches all over`,
  server: LACKED,
  client: 0,
  where: 'anywhere',
};
const CASES: readonly SyncCase[] = [
  EQUAL,
  AT_END,
  ANYWHERE,
  { name: 'lacks 1', server: 1, client: 0, where: 'end' },
  { name: 'lacks 100', server: 100, client: 0, where: 'anywhere' },
  { name: `each lacks ${LACKED} of the other`, server: LACKED, client: LACKED, where: 'anywhere' },
];

const bars: readonly BarDefinition[] = [
  {
    id: 'sync.equal',
    what: 'bytes of a sync between two nodes with equal logs of 10,000 records',
    unit: 'bytes',
    target: 2_048,
    sense: 'at most',
    numeratorIs: 'bytes of the sync stream, both directions',
    denominatorIs: 'one byte',
  },
  {
    id: 'sync.diff',
    what: 'bytes of a sync that lacks 10 of 10,000 records / the size of those records and their payloads; the worse of lacking the last ones and of branches all over the log',
    unit: 'ratio',
    target: 1.5,
    sense: 'at most',
    numeratorIs: 'bytes of the sync and blocks streams, both directions',
    denominatorIs: 'bytes of the records and payloads of 64 KiB',
  },
];

/** Bytes of comparing logs. They are counted, so once is enough. */
export const syncGroup: Group = { bars, run };

async function run({ quick, workspace, signal, say }: BenchmarkContext, { outcomes, tables, notes }: Findings) {
  const directory = join(workspace.scratch, 'sync');
  const { charter } = await makeCommunity(directory);
  const records = quick ? 50 : RECORDS;
  const cases = CASES.filter(({ server }) => server < records);
  say(`sync of logs of ${records} records, ${cases.length} cases`);
  const job: SyncJob = { directory, charter, records, payloadBytes: PAYLOAD_BYTES, cases };
  const child = await measuredModule(workspace, 'network/sync-child', signal);
  const { rows } = await runModule<{ rows: readonly SyncRow[] }>(child, job, { signal });
  const row = (one: SyncCase) => rows.find(({ case: { name } }) => name === one.name)!;
  outcomes.set('sync.equal', { numerator: row(EQUAL).sync, denominator: 1 });
  const diffs = [row(AT_END), row(ANYWHERE)].map((one) => ({
    numerator: one.sync + one.blocks,
    denominator: one.recordBytes + one.payloadBytes,
  }));
  const [first, second] = diffs as [(typeof diffs)[number], (typeof diffs)[number]];
  const worse = first.numerator / first.denominator > second.numerator / second.denominator ? first : second;
  outcomes.set('sync.diff', worse);
  tables.push({
    title: `one sync of a log of ${records} records: bytes in both directions, payloads of ${PAYLOAD_BYTES} bytes`,
    rows: rows.map((one) => ({
      client: one.case.name,
      'sync stream': one.sync,
      'blocks stream': one.blocks,
      'all TCP': one.tcp,
      'lacked records': one.recordBytes,
      'and payloads': one.payloadBytes,
      ratio: one.recordBytes === 0 ? null : (one.sync + one.blocks) / (one.recordBytes + one.payloadBytes),
      'records alone': one.recordBytes === 0 ? null : one.sync / one.recordBytes,
      ms: 1000 * one.seconds,
    })),
  });
  notes.push(
    'sync: bytes of streams are those of the protocol, without the negotiation of its name and the framing of the muxer, which are in all TCP; ms until everything is held and durable, one round',
  );
}
