/** A process that receives updates over a plain stream and verifies their signatures and hashes: it keeps nothing. */
import { multiaddr } from '@multiformats/multiaddr';
import { decodeSigned, manifestOf, payloadOf } from '../../../src/log/index.ts';
import { residentMemory } from '../memory.ts';
import type { CaughtUp } from './catchup-child.ts';
import { PLAIN_PROTOCOL, plainHost, receiveUpdates } from './plain.ts';

export interface PlainJob {
  readonly peer: string;
  readonly records: number;
}

const job = JSON.parse(process.argv[2]!) as PlainJob;
const cpu = process.cpuUsage();
const started = performance.now();
const host = await plainHost([]);
const stream = await host.dialProtocol(multiaddr(job.peer), PLAIN_PROTOCOL);
let received = 0;
await receiveUpdates(stream, async (record, payload) => {
  const signed = decodeSigned(record);
  const { id } = await manifestOf(payload);
  if (payloadOf(signed.record)?.equals(id) !== true) throw new Error('another payload than the record names');
  received++;
});
const { user, system } = process.cpuUsage(cpu);
const seconds = (performance.now() - started) / 1000;
if (received !== job.records) throw new Error(`${received} of ${job.records} updates came`);
const result: CaughtUp = { cpuSeconds: (user + system) / 1e6, seconds, peak: residentMemory().peak };
process.stdout.write(JSON.stringify(result));
await host.stop();
