/** A process that is a fresh node: it connects to one that has everything, and is done when it holds everything. */
import { residentMemory } from '../memory.ts';
import { Holder } from './holder.ts';

export interface CatchupJob {
  readonly home: string;
  readonly peer: string;
  readonly records: number;
}

export interface CaughtUp {
  /** Of the whole process, all threads: from before the network starts until everything is held and durable. */
  readonly cpuSeconds: number;
  readonly seconds: number;
  /** Resident bytes at the peak. */
  readonly peak: number;
}

const job = JSON.parse(process.argv[2]!) as CatchupJob;
const holder = await Holder.open(job.home);
const cpu = process.cpuUsage();
const started = performance.now();
await holder.connect([job.peer]);
await holder.holds(job.records);
const { user, system } = process.cpuUsage(cpu);
const seconds = (performance.now() - started) / 1000;
const result: CaughtUp = { cpuSeconds: (user + system) / 1e6, seconds, peak: residentMemory().peak };
process.stdout.write(JSON.stringify(result));
await holder.close();
