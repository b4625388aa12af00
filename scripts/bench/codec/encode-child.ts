/** A process that encodes one update: the clock runs from opening the checkpoints until the file has its name. */
import { residentMemory } from '../memory.ts';
import { type EncodeJob, encode, type PayloadSize } from './subject.ts';

export interface Encoded extends PayloadSize {
  readonly seconds: number;
  /** Resident bytes with all modules loaded, and at the peak. */
  readonly idle: number;
  readonly peak: number;
}

const job = JSON.parse(process.argv[2]!) as EncodeJob;
const idle = residentMemory().now;
const started = performance.now();
const size = await encode(job);
const seconds = (performance.now() - started) / 1000;
const result: Encoded = { ...size, seconds, idle, peak: residentMemory().peak };
process.stdout.write(JSON.stringify(result));
