/** A process that writes the merged checkpoint of a state. */
import { residentMemory } from '../memory.ts';
import { writeMerged } from './subject.ts';

export interface ExportJob {
  readonly state: string;
  readonly base: string;
  readonly out: string;
}

export interface Exported {
  readonly seconds: number;
  /** Resident bytes with all modules loaded, and at the peak. */
  readonly idle: number;
  readonly peak: number;
}

const { state, base, out } = JSON.parse(process.argv[2]!) as ExportJob;
const idle = residentMemory().now;
const started = performance.now();
await writeMerged(state, base, out);
const seconds = (performance.now() - started) / 1000;
const result: Exported = { seconds, idle, peak: residentMemory().peak };
process.stdout.write(JSON.stringify(result));
