/** A process that decodes one update into one reused buffer. */
import { residentMemory } from '../memory.ts';
import { decode } from './subject.ts';

export interface Decoded {
  readonly values: number;
  readonly seconds: number;
  /** Resident bytes at the peak. */
  readonly peak: number;
}

const { path } = JSON.parse(process.argv[2]!) as { path: string };
const started = performance.now();
const values = await decode(path);
const seconds = (performance.now() - started) / 1000;
const result: Decoded = { values, seconds, peak: residentMemory().peak };
process.stdout.write(JSON.stringify(result));
