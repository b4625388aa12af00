/**
 * A process that encodes an update: the clock runs from opening the checkpoints until the file has its name. With
 * `again` it then encodes on threads that it keeps, once uncounted and once more.
 */
import { residentMemory } from '../memory.ts';
import { type EncodeJob, encode, encodeAgain, type PayloadSize } from './subject.ts';

export interface EncodeChildJob extends EncodeJob {
  readonly again?: boolean;
}

export interface Encoded extends PayloadSize {
  /** Of the first encoding, its threads' start included. */
  readonly seconds: number;
  /** Of an encoding on threads that have encoded before; null where it was not asked for. */
  readonly secondsAgain: number | null;
  /** Resident bytes with all modules loaded, and at the peak of the first encoding. */
  readonly idle: number;
  readonly peak: number;
}

const { again, ...job } = JSON.parse(process.argv[2]!) as EncodeChildJob;
const idle = residentMemory().now;
const started = performance.now();
const size = await encode(job);
const seconds = (performance.now() - started) / 1000;
const { peak } = residentMemory();
const secondsAgain = again === true ? await encodeAgain(job) : null;
process.stdout.write(JSON.stringify({ ...size, seconds, secondsAgain, idle, peak } satisfies Encoded));
